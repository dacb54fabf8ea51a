import assert from 'node:assert/strict';
import type { Harness } from './harness.js';
import { commit, fieldsOf, found, idsOf, logs, refused, sets } from './steps.js';

/** What `condition` guards. */
export function testConditions(harness: Harness): void {
  harness.group('conditions', () => {
    harness.test('exists: false creates once, exists: true only changes', async ({ storage, key, space }) => {
      const nothing = await refused(storage, key(), sets({ a: '1' }), { condition: { exists: true } });
      assert.equal(nothing.record, undefined);
      assert.deepEqual(await idsOf(storage, { space }), []);
      await commit(storage, key(), sets({ a: '1' }), { condition: { exists: false } });
      await refused(storage, key(), sets({ a: '2' }), { condition: { exists: false } });
      await commit(storage, key(), sets({ a: '3' }), { condition: { exists: true } });
      assert.deepEqual(fieldsOf(await found(storage, key())), [['a', '3']]);
    });

    harness.test('version: only the record as it was read', async ({ storage, key }) => {
      const { version } = await commit(storage, key(), sets({ a: '1' }));
      await commit(storage, key(), sets({ a: '2' }), { condition: { version } });
      await refused(storage, key(), sets({ a: '3' }), { condition: { version } });
      assert.deepEqual(fieldsOf(await found(storage, key())), [['a', '2']]);
    });

    harness.test('version 0 is a record that is not there', async ({ storage, key }) => {
      await refused(storage, key(), sets({ a: '1' }), { condition: { version: 1 } });
      await commit(storage, key(), sets({ a: '1' }), { condition: { version: 0 } });
      await refused(storage, key(), sets({ a: '2' }), { condition: { version: 0 } });
    });

    harness.test('owner: the record of this one, or of nobody', async ({ storage, key }) => {
      const own = (owner: string | undefined) => [{ op: 'owner' as const, owner }];
      await refused(storage, key(), own('a'), { condition: { owner: 'a' } });
      await commit(storage, key(), own('a b'), { condition: { owner: null } });
      const taken = await refused(storage, key(), own('c'), { condition: { owner: null } });
      assert.equal(taken.record?.owner, 'a b');
      for (const other of ['a', 'a b c']) await refused(storage, key(), own('c'), { condition: { owner: other } });
      await commit(storage, key(), own(undefined), { condition: { owner: 'a b' } });
      await commit(storage, key(), own('c'), { condition: { owner: null } });
      // Made again, it has the version that it had, and not the owner.
      const { version } = await commit(storage, key('again'), sets({ a: '1' }));
      await storage.delete(key('again'));
      await commit(storage, key('again'), own('c'));
      await refused(storage, key('again'), own('d'), { condition: { version, owner: null } });
    });

    harness.test('fields: exactly these tokens, or absent', async ({ storage, key }) => {
      const absent = new Map([['a', undefined]]);
      await refused(storage, key(), sets({ a: '1' }), { condition: { fields: new Map([['a', '1']]) } });
      await commit(storage, key(), sets({ a: '1' }), { condition: { fields: absent } });
      await refused(storage, key(), sets({ a: '2' }), { condition: { fields: absent } });
      for (const other of ['"1"', '1.0', 'null', '', '[1]']) {
        await refused(storage, key(), sets({ a: '2' }), { condition: { fields: new Map([['a', other]]) } });
      }
      const both = new Map([
        ['a', '1'],
        ['b', undefined],
      ] as [string, string | undefined][]);
      await commit(storage, key(), sets({ a: '2', b: '2' }), { condition: { fields: both } });
      assert.deepEqual(fieldsOf(await found(storage, key())), [
        ['a', '2'],
        ['b', '2'],
      ]);
    });

    harness.test('look at the record before the changes, not after', async ({ storage, key }) => {
      await commit(storage, key(), sets({ a: '1' }));
      await commit(storage, key(), [{ op: 'clearFields' }, ...sets({ a: '2' })], {
        condition: { fields: new Map([['a', '1']]) },
      });
      await refused(storage, key(), sets({ a: '3' }), { condition: { fields: new Map([['a', '3']]) } });
    });

    harness.test('all parts must hold', async ({ storage, key }) => {
      const { version } = await commit(storage, key(), sets({ a: '1' }));
      const fields = new Map([['a', '1']]);
      await refused(storage, key(), sets({ a: '2' }), { condition: { exists: false, version, fields } });
      await refused(storage, key(), sets({ a: '2' }), { condition: { exists: true, version: version + 1, fields } });
      const others = new Map([['a', '2']]);
      await refused(storage, key(), sets({ a: '2' }), { condition: { exists: true, version, fields: others } });
      await commit(storage, key(), sets({ a: '2' }), { condition: { exists: true, version, fields } });
    });

    harness.test('an empty list only asks', async ({ storage, key }) => {
      await commit(storage, key(), [], { condition: { exists: false } });
      assert.equal(await storage.read(key()), undefined);
      await commit(storage, key(), sets({ a: '1' }));
      const before = await found(storage, key());
      await commit(storage, key(), [], { condition: { exists: true } });
      await refused(storage, key(), [], { condition: { exists: false } });
      assert.deepEqual(await found(storage, key()), before);
    });

    harness.test('a refusal changes nothing and brings what is there', async ({ storage, key, space }) => {
      await commit(storage, key(), [...sets({ a: '1' }), ...logs('0', '1'), { op: 'owner', owner: 'ann' }]);
      const before = await found(storage, key());
      const options = { condition: { exists: false }, expiry: { set: 60 }, logMax: 1, commitId: 'c-1' };
      const answer = await refused(
        storage,
        key(),
        [...sets({ a: '2' }), ...logs('2'), { op: 'owner', owner: 'bob' }],
        options,
      );
      assert.deepEqual(answer.record, before);
      assert.deepEqual(await found(storage, key()), before);
      assert.deepEqual(await idsOf(storage, { space, owner: 'bob' }), []);
    });

    harness.test('a refusal keeps the lease', async ({ storage, key }) => {
      await storage.begin(key(), { token: 'a', leaseMs: 60_000 });
      await refused(storage, key(), sets({ a: '1' }), { condition: { exists: true }, lease: { token: 'a' } });
      await commit(storage, key(), sets({ a: '1' }), { lease: { token: 'a' } });
    });

    harness.test('of many who want the same, one gets it', async ({ storage, key, second }) => {
      const other = harness.backend.reopen ? await second() : storage;
      const racers = Array.from({ length: 20 }, (_, index) => (index % 2 ? storage : other));
      const wins = async (options: Parameters<typeof storage.commit>[2]) => {
        const race = racers.map((one, index) => one.commit(key(), sets({ winner: String(index) }), options));
        const answers = await Promise.all(race);
        const winners = answers.flatMap((answer, index) => (answer.committed ? [String(index)] : []));
        assert.equal(winners.length, 1, `${winners.length} of ${racers.length} were told that they won`);
        assert.equal((await found(storage, key())).fields.get('winner'), winners[0]);
      };
      await wins({ condition: { exists: false } });
      await wins({ condition: { version: 1 } });
      const { fields } = await found(storage, key());
      await commit(storage, key(), sets({ free: '1' }));
      await wins({ condition: { version: 3, fields } });
    });
  });
}
