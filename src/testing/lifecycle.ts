import assert from 'node:assert/strict';
import type { Harness } from './harness.js';
import { commit, fails, fieldsOf, found, idsOf, logs, pageOf, sets, take } from './steps.js';

/** P16, P8: closing, opening again. */
export function testLifecycle(harness: Harness): void {
  harness.group('opening and closing (P16, P8)', () => {
    harness.test('names its backend and answers a ping', async ({ storage }) => {
      assert.equal(typeof storage.backend, 'string');
      assert.notEqual(storage.backend, '');
      await storage.ping();
    });

    harness.test('every call after close fails with STORAGE_CLOSED', async ({ fresh, key, space }) => {
      const storage = await fresh();
      await commit(storage, key(), sets({ a: '1' }));
      await storage.close();
      const calls = {
        begin: () => storage.begin(key(), { token: 'a', leaseMs: 1_000 }),
        read: () => storage.read(key()),
        readLog: () => storage.readLog(key()),
        commit: () => storage.commit(key(), sets({ a: '2' })),
        'empty commit': () => storage.commit(key(), []),
        delete: () => storage.delete(key()),
        list: () => idsOf(storage, { space }),
        sweep: () => storage.sweep({ space, updatedBefore: 1 }),
        spaces: () => storage.spaces(),
        ping: () => storage.ping(),
      };
      for (const [name, call] of Object.entries(calls)) {
        await assert.rejects(call, { code: 'STORAGE_CLOSED' }, `${name} did not fail with STORAGE_CLOSED`);
      }
    });

    harness.test('close may be called again, also at the same time', async ({ fresh }) => {
      const unused = await fresh();
      await unused.close();
      await unused.close();
      const used = await fresh();
      await used.ping();
      await Promise.all([used.close(), used.close()]);
    });

    harness.test('a listing that is under way when the storage is closed fails', async ({ fresh, key, space }) => {
      const storage = await fresh();
      for (const id of ['a', 'b', 'c']) await commit(storage, key(id), sets({ a: '1' }));
      await fails('STORAGE_CLOSED', async () => {
        for await (const info of storage.list({ space })) {
          assert.equal(info.key.id, 'a');
          await storage.close();
        }
      });
    });

    harness.testAcross('closing one instance leaves the others', async ({ storage, fresh, key }) => {
      const other = await fresh();
      await commit(other, key(), sets({ a: '1' }));
      await other.close();
      await commit(storage, key(), sets({ b: '1' }));
      assert.equal((await found(storage, key())).fields.size, 2);
    });

    harness.testAcross(
      'what was acknowledged is there after closing and opening again',
      async ({ fresh, key, space }) => {
        const before = await fresh();
        const changes = [...sets({ a: '1', b: '"x"' }), ...logs('0', '1', '2'), { op: 'owner', owner: 'ann' } as const];
        await commit(before, key('a', 's'), changes, { expiry: { set: 100 }, logMax: 2, commitId: 'c-1' });
        await commit(before, key('a', 's'), [{ op: 'increment', field: 'a', by: 1 }]);
        await commit(before, key('gone', 's'), sets({ a: '1' }));
        await before.delete(key('gone', 's'));
        await take(before, key('held'), 'a');
        const record = await found(before, key('a', 's'), 9);
        const page = await pageOf(before, key('a', 's'));
        await before.close();

        const after = await fresh();
        assert.deepEqual(await found(after, key('a', 's'), 9), record);
        assert.deepEqual(await pageOf(after, key('a', 's')), page);
        assert.deepEqual(await idsOf(after, { space, owner: 'ann' }), ['a']);
        assert.deepEqual(await idsOf(after, { space }), ['a']);
        const renewed = await commit(after, key('a', 's'), [], { expiry: { renew: 5 } });
        assert.equal(renewed.expiresAt, renewed.updatedAt + 100_000, 'the ttl of its own was forgotten');
        await commit(after, key('a', 's'), changes, { commitId: 'c-1' });
        assert.deepEqual(fieldsOf(await found(after, key('a', 's'))), fieldsOf(record));
        await commit(after, key('held'), sets({ a: '1' }), { lease: { token: 'a' } });
        await after.close();
      },
    );
  });
}
