import assert from 'node:assert/strict';
import type { Carried, Change } from '../storage/state-storage.js';
import type { Harness } from './harness.js';
import { commit, fails, fieldsOf, found, idsOf, logs, pageOf, sets } from './steps.js';

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
      await other.close();
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
      ];
      for (const [carried, changes] of bad) {
        await fails('INVALID_ARGUMENT', () => storage.commit(key(), changes, { carried }));
      }
      await fails('TTL_INVALID', () => storage.commit(key(), clear, { carried: { ...good, ownTtl: 0 } }));
      await fails('INVALID_ARGUMENT', () => storage.commit(key(), clear, { carried: good, expiry: { set: 1 } }));
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
