import assert from 'node:assert/strict';
import type { Change } from '../storage/state-storage.js';
import type { Harness } from './harness.js';
import { commit, fieldsOf, found, idsOf, logs, pageOf, sets } from './steps.js';

/** What a read brings, and that it is a private copy (P2). */
export function testReads(harness: Harness): void {
  harness.group('reads', () => {
    harness.test('a record that was never written is absent everywhere', async ({ storage, key, space }) => {
      assert.equal(await storage.read(key()), undefined);
      assert.deepEqual(await pageOf(storage, key()), { entries: [], start: 0, total: 0, dropped: 0 });
      assert.equal(await storage.delete(key()), false);
      assert.deepEqual(await idsOf(storage, { space }), []);
      const begun = await storage.begin(key(), { token: 'a', leaseMs: 60_000 });
      assert.deepEqual(begun, { busy: false, record: undefined });
      assert.equal(await storage.read(key()), undefined, 'begin has created a record');
    });

    harness.test('bring all fields, or only those asked for', async ({ storage, key }) => {
      await commit(storage, key(), sets({ a: '1', b: '2', c: '3' }));
      assert.deepEqual(fieldsOf(await storage.read(key(), { fields: ['c', 'a', 'missing'] })), [
        ['a', '1'],
        ['c', '3'],
      ]);
      assert.deepEqual(fieldsOf(await storage.read(key(), { fields: [] })), []);
      assert.equal((await found(storage, key())).fields.size, 3);
    });

    harness.test('bring the newest entries of the log, oldest first, and none by default', async ({ storage, key }) => {
      await commit(storage, key(), logs('0', '1', '2'));
      assert.equal((await storage.read(key()))?.log.length, 0);
      assert.deepEqual((await found(storage, key(), 2)).log, ['1', '2']);
      assert.deepEqual((await found(storage, key(), 9)).log, ['0', '1', '2']);
      assert.equal((await found(storage, key())).logTotal, 3);
    });

    harness.test('begin brings the same as a read', async ({ storage, key }) => {
      await commit(storage, key(), [...sets({ a: '1' }), ...logs('0', '1', '2'), { op: 'owner', owner: 'ann' }]);
      const begun = await storage.begin(key(), { token: 'a', leaseMs: 60_000, log: 2 });
      assert.deepEqual(begun, { busy: false, record: await storage.read(key(), { log: 2 }) });
    });

    harness.test('of one instance see what another has written', async ({ storage, key, second }) => {
      await commit(storage, key(), [...sets({ a: '1' }), ...logs('0')]);
      const other = harness.backend.reopen ? await second() : storage;
      assert.deepEqual(await other.read(key(), { log: 1 }), await storage.read(key(), { log: 1 }));
      await commit(other, key(), [...sets({ a: '2' }), ...logs('1')]);
      const record = await found(storage, key(), 2);
      assert.equal(record.fields.get('a'), '2');
      assert.deepEqual(record.log, ['0', '1']);
    });
  });

  harness.group('reads are private copies (P2)', () => {
    harness.test('a changed record, page or key does not change the store', async ({ storage, key, space }) => {
      await commit(storage, key('a', 's'), [...sets({ a: '1' }), ...logs('0', '1'), { op: 'owner', owner: 'ann' }]);
      const before = await found(storage, key('a', 's'), 2);

      const begun = await storage.begin(key('a', 's'), { token: 't', leaseMs: 60_000, log: 2 });
      const given = [begun.busy ? undefined : begun.record, await storage.read(key('a', 's'), { log: 2 })];
      for (const record of given) {
        assert.ok(record);
        record.fields.set('a', '9').set('b', '9');
        record.log.push('9');
        Object.assign(record, { owner: 'eve', version: 99, expiresAt: 1, logTotal: 9 });
      }
      (await storage.readLog(key('a', 's'))).entries.length = 0;
      for await (const info of storage.list({ space })) {
        Object.assign(info, { owner: 'eve', updatedAt: 0 });
        (info.key.scope as string[]).push('x');
        Object.assign(info.key, { id: 'b' });
      }

      assert.deepEqual(await found(storage, key('a', 's'), 2), before);
      assert.deepEqual(await idsOf(storage, { space, scope: ['s'], owner: 'ann' }), ['a']);
    });

    harness.test('a refusal and an increment bring copies too', async ({ storage, key }) => {
      const once = { commitId: 'c-1' };
      for (let sending = 0; sending < 3; sending++) {
        const answer = await commit(storage, key(), [{ op: 'increment', field: 'n', by: 1 }], once);
        assert.equal(answer.incremented.get('n'), 1);
        answer.incremented.set('n', 99);
      }
      const answer = await storage.commit(key(), sets({ a: '1' }), { condition: { exists: false } });
      assert.ok(!answer.committed);
      answer.record?.fields.set('n', '99');
      assert.equal((await found(storage, key())).fields.get('n'), '1');
    });

    harness.test('what the caller keeps of a commit is not the store', async ({ storage, key, space }) => {
      const target = key('a', 's');
      const change = { op: 'set', field: 'a', value: '1' };
      const changes = [change] as unknown as Change[];
      await storage.commit(target, changes);
      change.value = '9';
      changes.push({ op: 'set', field: 'b', value: '9' });
      (target.scope as string[]).push('x');
      assert.deepEqual(fieldsOf(await found(storage, key('a', 's'))), [['a', '1']]);
      for await (const info of storage.list({ space })) assert.deepEqual(info.key, key('a', 's'));
      assert.deepEqual(await idsOf(storage, { space, scope: ['s'] }), ['a']);
    });
  });
}
