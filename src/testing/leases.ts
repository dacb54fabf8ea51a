import assert from 'node:assert/strict';
import type { Harness } from './harness.js';
import { commit, fails, fieldsOf, found, idsOf, refusedLease, sets, take } from './steps.js';

/** P5 and P6: who may run a turn, and whose commit counts. */
export function testLeases(harness: Harness): void {
  harness.group('leases exclude and fence (P5, P6)', () => {
    harness.test('one holder at a time, told apart by token', async ({ storage, key }) => {
      await take(storage, key(), 'a', 30_000);
      const wait = await refusedLease(storage, key(), 'b', 30_000);
      assert.ok(Number.isInteger(wait) && wait > 0 && wait <= 30_000, `retryAfterMs is ${wait}`);
      await refusedLease(storage, key(), 'A', 30_000);
      await take(storage, key(), 'a', 30_000);
    });

    harness.test('a commit ends the lease', async ({ storage, key }) => {
      await take(storage, key(), 'a');
      await commit(storage, key(), sets({ x: '1' }), { lease: { token: 'a' } });
      await fails('LEASE_LOST', () => storage.commit(key(), sets({ x: '2' }), { lease: { token: 'a' } }));
      const begun = await storage.begin(key(), { token: 'b', leaseMs: 60_000 });
      assert.ok(!begun.busy);
      assert.deepEqual(fieldsOf(begun.record), [['x', '1']]);
    });

    harness.test('an empty commit ends the lease and writes nothing', async ({ storage, key, space }) => {
      await take(storage, key(), 'a');
      await commit(storage, key(), [], { lease: { token: 'a' } });
      assert.equal(await storage.read(key()), undefined);
      assert.deepEqual(await idsOf(storage, { space }), []);
      await take(storage, key(), 'b');
    });

    harness.test('keepMs keeps the lease for the next commit', async ({ storage, key }) => {
      await take(storage, key(), 'a');
      await commit(storage, key(), sets({ x: '1' }), { lease: { token: 'a', keepMs: 60_000 } });
      await refusedLease(storage, key(), 'b');
      await commit(storage, key(), [], { lease: { token: 'a', keepMs: 60_000 } });
      await commit(storage, key(), sets({ x: '2' }), { lease: { token: 'a' } });
      assert.deepEqual(fieldsOf(await found(storage, key())), [['x', '2']]);
    });

    harness.test('a commit under a lease that is not held writes nothing', async ({ storage, key }) => {
      await commit(storage, key(), sets({ x: '1' }));
      await fails('LEASE_LOST', () => storage.commit(key(), sets({ x: '2' }), { lease: { token: 'a' } }));
      await take(storage, key(), 'b');
      await fails('LEASE_LOST', () => storage.commit(key(), sets({ x: '2' }), { lease: { token: 'a' } }));
      await fails('LEASE_LOST', () => storage.commit(key(), [], { lease: { token: 'a' } }));
      await fails('LEASE_LOST', () => storage.commit(key(), [], { lease: { token: 'a', keepMs: 60_000 } }));
      assert.deepEqual(fieldsOf(await found(storage, key())), [['x', '1']]);
      await commit(storage, key(), sets({ x: '3' }), { lease: { token: 'b' } });
    });

    harness.test('a commit without a lease applies whoever holds it, and ends no lease', async ({ storage, key }) => {
      await take(storage, key(), 'a');
      await commit(storage, key(), [{ op: 'increment', field: 'n', by: 1 }]);
      await refusedLease(storage, key(), 'b');
      await commit(storage, key(), [{ op: 'increment', field: 'n', by: 1 }], { lease: { token: 'a' } });
      assert.deepEqual(fieldsOf(await found(storage, key())), [['n', '2']]);
    });

    harness.test('a lease outlives the deletion of its record', async ({ storage, key }) => {
      await commit(storage, key(), sets({ x: '1' }));
      await take(storage, key(), 'a');
      assert.equal(await storage.delete(key()), true);
      await refusedLease(storage, key(), 'b');
      await commit(storage, key(), sets({ y: '1' }), { lease: { token: 'a' } });
      assert.deepEqual(fieldsOf(await found(storage, key())), [['y', '1']]);
    });

    harness.test('of many who ask at once one is served', async ({ storage, key, second }) => {
      const other = harness.backend.reopen ? await second() : storage;
      const begun = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          (index % 2 ? storage : other).begin(key(), { token: `t${index}`, leaseMs: 60_000 }),
        ),
      );
      assert.equal(begun.filter(({ busy }) => !busy).length, 1);
    });

    harness.test('leases of different records do not meet', async ({ storage, key }) => {
      const records = [key('a'), key('b'), key('A'), key('a', 's'), key('a', 's', 't'), key('a', 'S')];
      await Promise.all(records.map((record, index) => take(storage, record, `t${index}`)));
      for (const record of records) await refusedLease(storage, record, 'x');
    });

    harness.testAcross('hold towards another instance', async ({ storage, key, second }) => {
      const other = await second();
      await take(storage, key(), 'a');
      await refusedLease(other, key(), 'b');
      await fails('LEASE_LOST', () => other.commit(key(), sets({ x: '1' }), { lease: { token: 'b' } }));
      await commit(storage, key(), sets({ x: '1' }), { lease: { token: 'a' } });
      const begun = await other.begin(key(), { token: 'b', leaseMs: 60_000 });
      assert.ok(!begun.busy);
      assert.deepEqual(fieldsOf(begun.record), [['x', '1']]);
      await refusedLease(storage, key(), 'c');
    });

    harness.testOverTime('a lease that is not renewed ends, and fences', async ({ storage, key, pass }) => {
      await commit(storage, key(), sets({ x: '1' }));
      await take(storage, key(), 'a', 1_000);
      await refusedLease(storage, key(), 'b');
      await pass(1_500);
      await fails('LEASE_LOST', () => storage.commit(key(), sets({ x: '2' }), { lease: { token: 'a' } }));
      await take(storage, key(), 'c');
      await fails('LEASE_LOST', () =>
        storage.commit(key(), sets({ x: '2' }), { lease: { token: 'a', keepMs: 1_000 } }),
      );
      await commit(storage, key(), sets({ x: '3' }), { lease: { token: 'c' } });
      assert.deepEqual(fieldsOf(await found(storage, key())), [['x', '3']]);
    });

    harness.testOverTime('it ends also where somebody keeps a place behind it', async ({ storage, key, pass }) => {
      await take(storage, key(), 'a', 1_000);
      await pass(900);
      // Refused, unless this machine is slow. The place is kept for longer than the lease.
      await storage.begin(key(), { token: 'b', leaseMs: 60_000 });
      await pass(150);
      await fails('LEASE_LOST', () => storage.commit(key(), sets({ x: '1' }), { lease: { token: 'a' } }));
    });

    harness.testOverTime('asking again renews the lease, and so does keepMs', async ({ storage, key, pass }) => {
      await take(storage, key('asked'), 'a', 1_500);
      await take(storage, key('kept'), 'a', 1_500);
      await take(storage, key('asked'), 'a', 60_000);
      await commit(storage, key('kept'), [], { lease: { token: 'a', keepMs: 60_000 } });
      await pass(2_000);
      await refusedLease(storage, key('asked'), 'b');
      await refusedLease(storage, key('kept'), 'b');
      await commit(storage, key('asked'), sets({ x: '1' }), { lease: { token: 'a' } });
      await commit(storage, key('kept'), sets({ x: '1' }), { lease: { token: 'a' } });
    });

    harness.testOverTime('keepMs counts from the commit and may shorten', async ({ storage, key, pass }) => {
      await take(storage, key(), 'a', 60_000);
      await commit(storage, key(), [], { lease: { token: 'a', keepMs: 300 } });
      await pass(600);
      await fails('LEASE_LOST', () => storage.commit(key(), [], { lease: { token: 'a' } }));
    });
  });
}
