import assert from 'node:assert/strict';
import type { Harness } from './harness.js';
import { commit, found, logs, pageOf, sets } from './steps.js';

/** The log: pages, positions, caps (P13 as far as it can be seen from here). */
export function testLog(harness: Harness): void {
  harness.group('the log', () => {
    harness.test('is read in pages, from the newest back', async ({ storage, key }) => {
      await commit(storage, key(), logs('0', '1', '2', '3', '4'));
      const all = await pageOf(storage, key());
      assert.deepEqual(all, { entries: ['0', '1', '2', '3', '4'], start: 0, total: 5, dropped: 0 });
      const newest = await pageOf(storage, key(), { limit: 2 });
      assert.deepEqual([newest.entries, newest.start], [['3', '4'], 3]);
      const older = await pageOf(storage, key(), { limit: 2, before: newest.start });
      assert.deepEqual([older.entries, older.start], [['1', '2'], 1]);
      const oldest = await pageOf(storage, key(), { limit: 2, before: older.start });
      assert.deepEqual([oldest.entries, oldest.start], [['0'], 0]);
    });

    harness.test('has empty pages where there is nothing', async ({ storage, key }) => {
      await commit(storage, key(), logs('0', '1'));
      assert.deepEqual((await pageOf(storage, key(), { before: 0 })).entries, []);
      assert.deepEqual((await pageOf(storage, key(), { limit: 0 })).entries, []);
      assert.deepEqual((await pageOf(storage, key(), { limit: 9, before: 9 })).entries, ['0', '1']);
      await commit(storage, key('fields'), sets({ a: '1' }));
      assert.deepEqual(await pageOf(storage, key('fields')), { entries: [], start: 0, total: 0, dropped: 0 });
    });

    harness.test('a cap keeps the newest and counts what it dropped', async ({ storage, key }) => {
      const answer = await commit(storage, key(), logs('0', '1', '2', '3', '4'), { logMax: 3 });
      assert.equal(answer.logTotal, 5);
      const record = await found(storage, key(), 9);
      assert.deepEqual([record.log, record.logTotal, record.logDropped], [['2', '3', '4'], 5, 2]);
      const next = await commit(storage, key(), logs('5'), { logMax: 3 });
      assert.equal(next.logTotal, 6);
      assert.deepEqual(await pageOf(storage, key()), { entries: ['3', '4', '5'], start: 3, total: 6, dropped: 3 });
      await commit(storage, key(), logs('6'));
      assert.deepEqual(await pageOf(storage, key()), { entries: ['3', '4', '5', '6'], start: 3, total: 7, dropped: 3 });
    });

    harness.test('positions stay where they are when a cap drops entries', async ({ storage, key }) => {
      await commit(storage, key(), logs('0', '1', '2', '3', '4', '5'));
      await commit(storage, key(), logs('6'), { logMax: 4 });
      const page = await pageOf(storage, key(), { limit: 2, before: 5 });
      assert.deepEqual([page.entries, page.start], [['3', '4'], 3]);
      const edge = await pageOf(storage, key(), { limit: 9, before: 5 });
      assert.deepEqual([edge.entries, edge.start], [['3', '4'], 3]);
      assert.deepEqual((await pageOf(storage, key(), { before: 2 })).entries, []);
    });

    harness.test('a cap of 0 keeps nothing but the count', async ({ storage, key }) => {
      await commit(storage, key(), logs('0', '1'), { logMax: 0 });
      assert.deepEqual(await pageOf(storage, key()), { entries: [], start: 2, total: 2, dropped: 2 });
      await commit(storage, key(), logs('2'));
      assert.deepEqual(await pageOf(storage, key()), { entries: ['2'], start: 2, total: 3, dropped: 2 });
    });

    harness.test('a cap holds over many commits', async ({ storage, key }) => {
      for (let index = 0; index < 200; index++) await commit(storage, key(), logs(String(index)), { logMax: 7 });
      const entries = ['193', '194', '195', '196', '197', '198', '199'];
      assert.deepEqual(await pageOf(storage, key()), { entries, start: 193, total: 200, dropped: 193 });
      assert.deepEqual((await found(storage, key(), 3)).log, entries.slice(-3));
    });

    harness.test('a cleared log begins anew, its counts too', async ({ storage, key }) => {
      await commit(storage, key(), logs('0', '1', '2'), { logMax: 1 });
      const answer = await commit(storage, key(), [...logs('3'), { op: 'clearLog' }, ...logs('4')]);
      assert.equal(answer.logTotal, 1);
      assert.deepEqual(await pageOf(storage, key()), { entries: ['4'], start: 0, total: 1, dropped: 0 });
    });

    harness.test('is as good at length', async ({ storage, key }) => {
      const entries = Array.from({ length: 2_000 }, (_, index) => JSON.stringify(`entry ${index} ${'x'.repeat(100)}`));
      for (let from = 0; from < entries.length; from += 100) {
        await commit(storage, key(), logs(...entries.slice(from, from + 100)));
      }
      assert.deepEqual((await pageOf(storage, key())).entries, entries);
      assert.deepEqual((await pageOf(storage, key(), { limit: 10, before: 1_000 })).entries, entries.slice(990, 1_000));
      assert.deepEqual((await found(storage, key(), 3)).log, entries.slice(-3));
    });
  });
}
