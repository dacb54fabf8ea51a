import assert from 'node:assert/strict';
import type { Change } from '../storage/state-storage.js';
import type { Harness } from './harness.js';
import { commit, fails, fieldsOf, found, logs, sets, take } from './steps.js';

const ONCE: readonly Change[] = [
  { op: 'increment', field: 'n', by: 1 },
  { op: 'append', field: 'list', item: '1' },
  ...logs('0'),
];

/** A commit whose answer was lost is sent again. */
export function testCommitIds(harness: Harness): void {
  harness.group('a commit with an id applies at most once', () => {
    harness.test('sent again it answers the same and changes nothing', async ({ storage, key }) => {
      const first = await commit(storage, key(), ONCE, { commitId: 'c-1' });
      const before = await found(storage, key(), 9);
      assert.deepEqual(await commit(storage, key(), ONCE, { commitId: 'c-1' }), first);
      assert.deepEqual(await found(storage, key(), 9), before);
      assert.deepEqual(before.fields, new Map(Object.entries({ n: '1', list: '[1]' })));
    });

    harness.test('also where its own later changes overwrote what it incremented', async ({ storage, key, second }) => {
      const changes: Change[] = [
        { op: 'increment', field: 'n', by: 1 },
        ...sets({ n: '"x"' }),
        { op: 'increment', field: 'm', by: 2 },
        { op: 'remove', field: 'm' },
      ];
      const first = await commit(storage, key(), changes, { commitId: 'c-1' });
      assert.deepEqual(first.incremented, new Map(Object.entries({ n: 1, m: 2 })));
      assert.deepEqual(await commit(storage, key(), changes, { commitId: 'c-1' }), first);
      const other = harness.backend.reopen ? await second() : storage;
      assert.deepEqual(await commit(other, key(), changes, { commitId: 'c-1' }), first);
    });

    harness.test('also where its own later changes cleared what it incremented', async ({ storage, key }) => {
      const changes: Change[] = [{ op: 'increment', field: 'n', by: 1 }, { op: 'clearFields' }, ...sets({ x: '1' })];
      const first = await commit(storage, key(), changes, { commitId: 'c-1' });
      assert.deepEqual(first.incremented, new Map([['n', 1]]));
      assert.deepEqual(fieldsOf(await found(storage, key())), [['x', '1']]);
      assert.deepEqual(await commit(storage, key(), changes, { commitId: 'c-1' }), first);
    });

    harness.test('also after others have written', async ({ storage, key }) => {
      const first = await commit(storage, key(), ONCE, { commitId: 'c-1' });
      await commit(storage, key(), ONCE, { commitId: 'c-2' });
      await commit(storage, key(), ONCE);
      assert.deepEqual(await commit(storage, key(), ONCE, { commitId: 'c-1' }), first);
      assert.equal((await found(storage, key())).fields.get('n'), '3');
    });

    harness.test(
      'also when its lease has ended with it, and somebody else holds the next',
      async ({ storage, key }) => {
        await take(storage, key(), 'a');
        const options = { lease: { token: 'a' }, commitId: 'c-1' };
        const first = await commit(storage, key(), ONCE, options);
        assert.deepEqual(await commit(storage, key(), ONCE, options), first);
        await take(storage, key(), 'b');
        assert.deepEqual(await commit(storage, key(), ONCE, options), first);
        await commit(storage, key(), ONCE, { lease: { token: 'b' } });
        assert.equal((await found(storage, key())).fields.get('n'), '2');
      },
    );

    harness.test('also when its lease has ended with it, and others have written without one', async (given) => {
      const { storage, key } = given;
      await take(storage, key(), 'a');
      const options = { lease: { token: 'a' }, commitId: 'c-1' };
      const first = await commit(storage, key(), ONCE, options);
      await commit(storage, key(), [{ op: 'clearLog' }]);
      assert.deepEqual(await commit(storage, key(), ONCE, options), first);
      await commit(storage, key(), ONCE, { commitId: 'c-2' });
      assert.deepEqual(await commit(storage, key(), ONCE, options), first);
      assert.equal((await found(storage, key())).fields.get('n'), '2');
    });

    harness.test('also when its lease has ended with it, and the next turn has written', async ({ storage, key }) => {
      const lease = { token: 'b', keepMs: 60_000 };
      await take(storage, key(), 'a');
      const options = { lease: { token: 'a' }, commitId: 'c-1' };
      const first = await commit(storage, key(), ONCE, options);
      await take(storage, key(), 'b');
      await commit(storage, key(), ONCE, { lease, commitId: 'c-2' });
      assert.deepEqual(await commit(storage, key(), ONCE, options), first);
      const last = await commit(storage, key(), ONCE, { lease: { token: 'b' }, commitId: 'c-3' });
      assert.deepEqual(await commit(storage, key(), ONCE, options), first);
      assert.deepEqual(await commit(storage, key(), ONCE, { lease: { token: 'b' }, commitId: 'c-3' }), last);
      await take(storage, key(), 'c');
      await commit(storage, key(), ONCE, { lease: { token: 'c' }, commitId: 'c-4' });
      assert.deepEqual(await commit(storage, key(), ONCE, options), first);
      assert.deepEqual(await commit(storage, key(), ONCE, { lease: { token: 'b' }, commitId: 'c-3' }), last);
      assert.equal((await found(storage, key())).fields.get('n'), '4');
    });

    harness.testOverTime('also when its record has expired, and another has taken its place', async (bench) => {
      const { storage, key, pass } = bench;
      const options = { commitId: 'c-1', expiry: { set: 1 } };
      const first = await commit(storage, key(), ONCE, options);
      await pass(1_100);
      await commit(storage, key(), ONCE, { commitId: 'c-2' });
      assert.deepEqual(await commit(storage, key(), ONCE, options), first);
      assert.equal((await found(storage, key())).fields.get('n'), '1');
    });

    harness.test('also when its condition no longer holds because of it', async ({ storage, key }) => {
      const options = { condition: { exists: false }, commitId: 'c-1' };
      const first = await commit(storage, key(), ONCE, options);
      assert.deepEqual(await commit(storage, key(), ONCE, options), first);
    });

    harness.test('also while the lease is kept', async ({ storage, key }) => {
      await take(storage, key(), 'a');
      const options = { lease: { token: 'a', keepMs: 60_000 }, commitId: 'c-1' };
      const first = await commit(storage, key(), ONCE, options);
      assert.deepEqual(await commit(storage, key(), ONCE, options), first);
      await commit(storage, key(), ONCE, { lease: { token: 'a' }, commitId: 'c-2' });
      assert.equal((await found(storage, key())).fields.get('n'), '2');
    });

    harness.test('sent many times at once', async ({ storage, key, second }) => {
      const other = harness.backend.reopen ? await second() : storage;
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, index) => commit(index % 2 ? storage : other, key(), ONCE, { commitId: 'c-1' })),
      );
      for (const answer of answers) assert.deepEqual(answer, answers[0]);
      assert.equal((await found(storage, key())).fields.get('n'), '1');
    });

    harness.testAcross('sent again by another instance', async ({ storage, key, second }) => {
      const first = await commit(storage, key(), ONCE, { commitId: 'c-1' });
      assert.deepEqual(await commit(await second(), key(), ONCE, { commitId: 'c-1' }), first);
      assert.equal((await found(storage, key())).fields.get('n'), '1');
    });

    harness.test('different ids are different commits, whatever they hold', async ({ storage, key }) => {
      const ids = ['a', 'A', 'a ', ' a', 'a:b', 'a%3ab', '*', 'é', 'e\u0301', '__proto__', '0', 'x'.repeat(300)];
      for (const commitId of ids) await commit(storage, key(), ONCE, { commitId });
      assert.equal((await found(storage, key())).fields.get('n'), String(ids.length));
    });

    harness.test('an id belongs to its record', async ({ storage, key }) => {
      await commit(storage, key('a'), ONCE, { commitId: 'bc' });
      await commit(storage, key('ab'), ONCE, { commitId: 'c' });
      await commit(storage, key('b'), ONCE, { commitId: 'bc' });
      for (const id of ['a', 'ab', 'b']) assert.equal((await found(storage, key(id))).fields.get('n'), '1');
    });

    harness.test('a commit that was not applied has used no id', async ({ storage, key }) => {
      await storage.commit(key(), ONCE, { condition: { exists: true }, commitId: 'c-1' });
      await fails('LEASE_LOST', () => storage.commit(key(), ONCE, { lease: { token: 'a' }, commitId: 'c-1' }));
      await commit(storage, key(), [...ONCE, ...sets({ a: '1' })], { commitId: 'c-1' });
      assert.equal((await found(storage, key())).fields.get('n'), '1');
    });
  });
}
