import assert from 'node:assert/strict';
import type { Carried, Change } from '../storage/state-storage.js';
import type { Harness } from './harness.js';
import { commit, fails, fieldsOf, found, idsOf, logs, pageOf, refused, sets } from './steps.js';

/** What moving a record from one storage to another needs: to be found, and to stay what it was. */
export function testCarrying(harness: Harness): void {
  harness.group('records brought from elsewhere', () => {
    const at = 1_700_000_000_000;
    const hour = 3_600_000;
    const clear: Change[] = [{ op: 'clearFields' }, { op: 'clearLog' }];

    harness.test('keep the times, the life and the log positions that they bring', async (bench) => {
      const { storage, key, space } = bench;
      const expiresAt = Date.now() + 100 * 365 * 24 * hour;
      const carried: Carried = { createdAt: at, updatedAt: at + hour, expiresAt, ownTtl: 7200, logDropped: 7 };
      const owner: Change = { op: 'owner', owner: 'ann' };
      await commit(storage, key(), [...clear, ...sets({ a: '1' }), owner], { carried });
      const { logDropped: _, ...further } = carried;
      const answer = await commit(storage, key(), logs('1', '2', '3'), { carried: further });
      assert.equal(answer.updatedAt, at + hour);
      assert.equal(answer.expiresAt, expiresAt);
      const record = await found(storage, key(), 2);
      const { createdAt, updatedAt, ownTtl, logTotal, logDropped, log } = record;
      assert.deepEqual(
        { createdAt, updatedAt, expiresAt: record.expiresAt, ownTtl, owner: record.owner, logTotal, logDropped, log },
        { ...further, owner: 'ann', logTotal: 10, logDropped: 7, log: ['2', '3'] },
      );
      assert.deepEqual(await pageOf(storage, key()), { entries: ['1', '2', '3'], start: 7, total: 10, dropped: 7 });
      assert.deepEqual(await pageOf(storage, key(), { before: 9, limit: 1 }), {
        entries: ['2'],
        start: 8,
        total: 10,
        dropped: 7,
      });
      // As old as they are, also for whoever cleans up.
      assert.deepEqual(await idsOf(storage, { space, updatedBefore: at + hour + 1 }), ['record']);
      assert.deepEqual(await idsOf(storage, { space, updatedBefore: at + hour }), []);
      assert.equal(await storage.sweep({ space, updatedBefore: at + hour }), 0);
      assert.equal(await storage.sweep({ space, updatedBefore: at + hour + 1 }), 1);
    });

    harness.test('take the place of what was there, once more', async ({ storage, key }) => {
      await commit(storage, key(), [...sets({ a: '1', old: '2' }), ...logs('1', '2')], { expiry: { set: 60 } });
      const carried = { createdAt: at, updatedAt: at + 1, expiresAt: undefined, ownTtl: undefined };
      await commit(storage, key(), [...clear, ...sets({ b: '3' }), ...logs('"x"')], { carried });
      const { fields, createdAt, updatedAt, expiresAt, ownTtl, log, logTotal } = await found(storage, key(), 9);
      assert.deepEqual(fieldsOf({ fields } as never), [['b', '3']]);
      const after = { createdAt, updatedAt, expiresAt, ownTtl, log, logTotal };
      assert.deepEqual(after, { ...carried, log: ['"x"'], logTotal: 1 });
      // A renewal finds no time to live of its own; writing goes on by the clock.
      await commit(storage, key(), sets({ b: '4' }), { expiry: { renew: 60 } });
      const written = await found(storage, key());
      assert.equal(written.createdAt, at);
      assert.ok(written.updatedAt > at + hour);
      assert.equal(written.expiresAt, written.updatedAt + 60_000);
    });

    harness.test('caps its log like any other commit', async ({ storage, key }) => {
      await commit(storage, key(), logs('"old"'));
      const carried = { createdAt: 5_000, updatedAt: 6_000, expiresAt: undefined, ownTtl: undefined };
      const entries = Array.from({ length: 9 }, (_, index) => String(index));
      await commit(storage, key(), [{ op: 'clearLog' }, ...logs(...entries)], { carried, logMax: 2 });
      const { log, logTotal, logDropped } = await found(storage, key(), 9);
      assert.deepEqual([log, logTotal, logDropped], [['7', '8'], 9, 7]);
    });

    harness.test('are brought once by a commit that is sent again', async ({ storage, key, second }) => {
      const carried = { createdAt: at, updatedAt: at + 1, expiresAt: undefined, ownTtl: undefined };
      const options = { carried, commitId: 'c-1' };
      const first = await commit(storage, key(), sets({ a: '1' }), options);
      await commit(storage, key(), sets({ a: '2' }), { commitId: 'c-2' });
      assert.deepEqual(await commit(storage, key(), sets({ a: '1' }), options), first);
      if (harness.backend.reopen) {
        assert.deepEqual(await commit(await second(), key(), sets({ a: '1' }), options), first);
      }
      assert.deepEqual(fieldsOf(await found(storage, key())), [['a', '2']]);
    });

    harness.test('are refused where a field is not as it was', async ({ storage, key }) => {
      await commit(storage, key(), sets({ a: '1' }));
      const carried = { createdAt: at, updatedAt: at + 1, expiresAt: undefined, ownTtl: undefined, logDropped: 3 };
      const condition = { fields: new Map([['a', '2']]) };
      await refused(storage, key(), clear, { carried, condition });
      assert.deepEqual(fieldsOf(await found(storage, key())), [['a', '1']]);
    });

    harness.test('with a life of their own are renewed by that', async ({ storage, key }) => {
      const expiresAt = Date.now() + 100 * 365 * 24 * hour;
      await commit(storage, key(), sets({ a: '1' }), {
        carried: { createdAt: at, updatedAt: at, expiresAt, ownTtl: 50 },
      });
      await commit(storage, key('never'), sets({ a: '1' }), {
        carried: { createdAt: at, updatedAt: at, expiresAt: undefined, ownTtl: 'none' },
      });
      for (const id of ['record', 'never']) await commit(storage, key(id), [], { expiry: { renew: 7200 } });
      const record = await found(storage, key());
      assert.equal(record.expiresAt, record.updatedAt + 50_000);
      assert.equal((await found(storage, key('never'))).expiresAt, undefined);
      assert.equal((await found(storage, key('never'))).ownTtl, 'none');
    });

    harness.testAcross('are the same to another instance', async ({ storage, key, fresh }) => {
      const carried: Carried = {
        createdAt: at,
        updatedAt: at + 5,
        expiresAt: undefined,
        ownTtl: 'none',
        logDropped: 3,
      };
      await commit(storage, key(), [...clear, ...sets({ a: '1' })], { carried });
      const { logDropped: _, ...further } = carried;
      const entries = Array.from({ length: 300 }, (_, i) => String(i));
      await commit(storage, key(), logs(...entries), { carried: further });
      const replies = new Map([
        ['m-2', '"two"'],
        ['m-1', '"one"'],
      ]);
      if (storage.carriesReplies) {
        await commit(storage, key(), [], { carried: { ...further, replies } });
        await commit(storage, key('none'), [], { idempotency: { key: 'm-1', reply: '0', keep: 9 } });
        await commit(storage, key('none'), [], { carried: { ...further, replies: new Map() } });
      }
      await commit(storage, key('there'), sets({ a: '1' }));
      await commit(storage, key('there'), sets({ a: '2' }), { carried: further });
      const other = await fresh();
      const there = await found(other, key('there'));
      assert.deepEqual([there.createdAt, there.updatedAt, there.fields.get('a')], [at, at + 5, '2']);
      const { createdAt, updatedAt, expiresAt, ownTtl } = await found(other, key());
      assert.deepEqual({ createdAt, updatedAt, expiresAt, ownTtl }, further);
      assert.deepEqual(await pageOf(other, key(), { before: 5 }), {
        entries: ['0', '1'],
        start: 3,
        total: 303,
        dropped: 3,
      });
      if (other.carriesReplies) {
        const found = await other.read(key(), { replies: true });
        assert.deepEqual([...(found?.replies ?? [])], [...replies]);
        assert.deepEqual((await other.read(key('none'), { replies: true }))?.replies, new Map());
      }
      await other.close();
    });

    harness.test('keep the replies that they bring, instead of those that were there', async ({ storage, key }) => {
      if (!storage.carriesReplies) return;
      const work = (name: string, keep = 9) => ({ idempotency: { key: name, reply: `"${name}"`, keep } });
      const kept = async (id?: string) => [
        ...((await storage.read(key(id), { log: 1, replies: true }))?.replies ?? []),
      ];
      for (const name of ['a', 'b', 'c', 'd']) await commit(storage, key(), [], work(name, 3));
      const found = await kept();
      assert.deepEqual(found, [
        ['b', '"b"'],
        ['c', '"c"'],
        ['d', '"d"'],
      ]);
      assert.equal((await storage.read(key()))?.replies, undefined, 'nobody has asked for them');
      assert.deepEqual([...((await storage.read(key(), { fields: [], replies: true }))?.replies ?? [])], found);
      await commit(storage, key('other'), sets({ a: '1' }));
      assert.deepEqual((await storage.read(key('other'), { replies: true }))?.replies, new Map());

      const brought = new Map<string, string>([...found, ['=#1 \n\0é', '{"x":[]}']]);
      const carried: Carried = {
        createdAt: at,
        updatedAt: at,
        expiresAt: undefined,
        ownTtl: undefined,
        replies: brought,
      };
      await commit(storage, key('other'), [], work('old'));
      for (const id of ['other', 'new']) {
        await commit(storage, key(id), clear, { carried });
        assert.deepEqual(await kept(id), [...brought], id);
      }
      // A commit that says nothing of them leaves them; the next piece of work says how many stay.
      const { replies: _, ...further } = carried;
      await commit(storage, key('new'), sets({ a: '1' }), { carried: further });
      assert.deepEqual(await kept('new'), [...brought]);
      const again = await storage.commit(key('new'), sets({ a: '2' }), work('c'));
      assert.equal(!again.committed && again.record?.reply, '"c"');
      await commit(storage, key('new'), [], work('e', 2));
      assert.deepEqual(await kept('new'), [...[...brought].slice(3), ['e', '"e"']]);
      await commit(storage, key('new'), [], { carried: { ...carried, replies: new Map() } });
      assert.deepEqual(await kept('new'), []);
      await commit(storage, key('new'), [], work('f'));
      assert.deepEqual(await kept('new'), [['f', '"f"']]);
    });

    harness.testOverTime('keep brought replies as long as they live', async ({ storage, key, pass }) => {
      if (!storage.carriesReplies) return;
      const now = (await commit(storage, key('clock'), sets({ a: '1' }))).updatedAt;
      const replies = new Map([['m', '"done"']]);
      const carried = { createdAt: at, updatedAt: at, ownTtl: undefined, replies };
      await commit(storage, key(), clear, { carried: { ...carried, expiresAt: now + 1_000 } });
      await commit(storage, key('longer'), clear, { carried: { ...carried, expiresAt: now + 1_000 } });
      await commit(storage, key('longer'), [], { expiry: { set: 60 } });
      await pass(1_100);
      await commit(storage, key(), sets({ a: '1' }));
      assert.equal((await storage.read(key(), { idempotencyKey: 'm' }))?.reply, undefined);
      assert.equal((await storage.read(key('longer'), { idempotencyKey: 'm' }))?.reply, '"done"');
    });

    harness.test('that make no sense are refused, before anything is written', async ({ storage, key }) => {
      const good: Carried = { createdAt: at, updatedAt: at, expiresAt: undefined, ownTtl: undefined };
      const bad: [Carried, Change[]][] = [
        [{ ...good, createdAt: -1 }, clear],
        [{ ...good, updatedAt: Number.NaN }, clear],
        [{ ...good, expiresAt: 0 }, clear],
        [{ ...good, logDropped: 0.5 }, clear],
        [{ ...good, logDropped: 1 }, sets({ a: '1' })],
        [{ ...good, logDropped: 1 }, [...clear, ...logs('1')]],
        [{ ...good, replies: new Map([['', '0']]) }, clear],
        [{ ...good, replies: new Map([['m-1', '']]) }, clear],
      ];
      for (const [carried, changes] of bad) {
        await fails('INVALID_ARGUMENT', () => storage.commit(key(), changes, { carried }));
      }
      await fails('TTL_INVALID', () => storage.commit(key(), clear, { carried: { ...good, ownTtl: 0 } }));
      await fails('INVALID_ARGUMENT', () => storage.commit(key(), clear, { carried: good, expiry: { set: 1 } }));
      const idempotency = { key: 'm-1', reply: '0', keep: 9 };
      const both = { carried: { ...good, replies: new Map([['m-2', '0']]) }, idempotency };
      await fails('INVALID_ARGUMENT', () => storage.commit(key(), clear, both));
      assert.equal(await storage.read(key()), undefined);
    });

    harness.test('are found: spaces() names every space that holds records', async ({ storage, key, space }) => {
      assert.ok(!(await storage.spaces()).includes(space));
      await commit(storage, key(), sets({ a: '1' }));
      await commit(storage, { space: `${space}-b`, scope: ['t'], id: 'x' }, sets({ a: '1' }));
      const spaces = await storage.spaces();
      assert.ok(spaces.includes(space) && spaces.includes(`${space}-b`));
      assert.deepEqual(spaces, [...new Set(spaces)].sort());
    });
  });
}
