import assert from 'node:assert/strict';
import type { RecordKey } from '../storage/keys.js';
import type { BeginOptions, Change, CommitOptions, StateRecord, StateStorage } from '../storage/state-storage.js';
import type { Harness } from './harness.js';
import { commit, fails, fieldsOf, logs, refused, refusedLease, sets, take } from './steps.js';

/** A commit that may begin the next turn. What is asked of it holds as well where a storage leaves that to `begin`. */
export function testPassing(harness: Harness): void {
  harness.group('a lease that is passed on', () => {
    harness.test('goes to the next turn, with the record as the commit left it', async ({ storage, key }) => {
      await commit(storage, key(), [...sets({ x: '1' }), ...logs('"a"', '"b"')]);
      await take(storage, key(), 'a');
      const next = { ...NEXT, log: 2 };
      const record = await passed(storage, key(), [...sets({ x: '2', y: '1' }), ...logs('"c"')], next);
      assert.deepEqual(fieldsOf(record), [
        ['x', '2'],
        ['y', '1'],
      ]);
      assert.deepEqual([...(record?.log ?? [])], ['"b"', '"c"']);
      assert.deepEqual([record?.logTotal, record?.logDropped, record?.version], [3, 0, 2]);
      await refusedLease(storage, key(), 'c');
      await fails('LEASE_LOST', () => storage.commit(key(), sets({ x: '3' }), { lease: { token: 'a' } }));
      await commit(storage, key(), sets({ x: '4' }), { lease: { token: 'next' } });
      await take(storage, key(), 'c');
    });

    harness.test('also by a commit that writes nothing, to a record or to none', async ({ storage, key }) => {
      await take(storage, key('none'), 'a');
      assert.equal(await passed(storage, key('none'), []), undefined);
      await commit(storage, key('one'), sets({ x: '1' }));
      await take(storage, key('one'), 'a');
      assert.deepEqual(fieldsOf(await passed(storage, key('one'), [])), [['x', '1']]);
      for (const id of ['none', 'one']) {
        await refusedLease(storage, key(id), 'c');
        await commit(storage, key(id), sets({ y: '1' }), { lease: { token: 'next' } });
      }
    });

    harness.test('again and again', async ({ storage, key }) => {
      await take(storage, key(), 'turn-0');
      for (let n = 0; n < 5; n++) {
        const lease = { token: `turn-${n}`, next: { token: `turn-${n + 1}`, leaseMs: 60_000 } };
        const record = await passedBy(storage, key(), [{ op: 'increment', field: 'n', by: 1 }], { lease });
        assert.deepEqual(fieldsOf(record), [['n', String(n + 1)]]);
      }
      await fails('LEASE_LOST', () => storage.commit(key(), [], { lease: { token: 'turn-4' } }));
      await commit(storage, key(), [], { lease: { token: 'turn-5' } });
      await take(storage, key(), 'c');
    });

    harness.test('lasts as long as the next turn asked for', async ({ storage, key }) => {
      await take(storage, key(), 'a', 1_000);
      await passed(storage, key(), sets({ x: '1' }), { token: 'next', leaseMs: 50_000 });
      const wait = await refusedLease(storage, key(), 'c');
      assert.ok(wait > 10_000 && wait <= 50_000, `retryAfterMs is ${wait}`);
    });

    harness.test('brings the reply under the key that the next turn asks for', async ({ storage, key }) => {
      await take(storage, key(), 'a');
      const lease = { token: 'a', next: { ...NEXT, idempotencyKey: 'm-1' } };
      const idempotency = { key: 'm-1', reply: '"done"', keep: 8 };
      const record = await passedBy(storage, key(), sets({ x: '1' }), { lease, idempotency });
      assert.equal(record?.reply, '"done"');
      const other = { token: 'next', next: { token: 'third', leaseMs: 60_000, idempotencyKey: 'm-2' } };
      assert.equal((await passedBy(storage, key(), sets({ x: '2' }), { lease: other }))?.reply, undefined);
    });

    harness.test('is renewed by asking for it, as where the answer was lost', async ({ storage, key }) => {
      await take(storage, key(), 'a');
      const options: CommitOptions = { lease: { token: 'a', next: NEXT }, commitId: 'c-1' };
      await commit(storage, key(), sets({ x: '1' }), options);
      const again = await commit(storage, key(), sets({ x: '1' }), options);
      assert.equal(again.version, 1);
      const begun = await storage.begin(key(), NEXT);
      assert.ok(!begun.busy);
      assert.deepEqual(fieldsOf(begun.record), [['x', '1']]);
    });

    harness.test('goes to whoever was refused before', async ({ storage, key }) => {
      await take(storage, key(), 'a');
      const since = Date.now();
      await refusedLease(storage, key(), 'c');
      const answer = await commit(storage, key(), sets({ x: '1' }), { lease: { token: 'a', next: NEXT } });
      // The place that is kept for the one refused may be over on a slow machine.
      if (Date.now() - since > 150) return;
      assert.equal(answer.begun, undefined);
      await take(storage, key(), 'c');
    });

    harness.test('stays where it is kept, refused or not to be had', async ({ storage, key }) => {
      await take(storage, key(), 'a');
      const kept = { token: 'a', keepMs: 60_000, next: NEXT };
      assert.equal((await commit(storage, key(), sets({ x: '1' }), { lease: kept })).begun, undefined);
      const lease = { token: 'a', next: NEXT };
      await refused(storage, key(), sets({ x: '2' }), { lease, condition: { exists: false } });
      await fails('LEASE_LOST', () => storage.commit(key(), [], { lease: { ...lease, token: 'b' } }));
      await refusedLease(storage, key(), 'next');
      await commit(storage, key(), sets({ x: '2' }), { lease: { token: 'a' } });
    });
  });
}

const NEXT: BeginOptions = { token: 'next', leaseMs: 60_000 };

function passed(storage: StateStorage, key: RecordKey, changes: readonly Change[], next = NEXT) {
  return passedBy(storage, key, changes, { lease: { token: 'a', next } });
}

/** The record that the next turn finds: in the answer, or by asking as the contract says. */
async function passedBy(
  storage: StateStorage,
  key: RecordKey,
  changes: readonly Change[],
  options: CommitOptions,
): Promise<StateRecord | undefined> {
  const answer = await commit(storage, key, changes, options);
  if (answer.begun) return answer.begun.record;
  const begun = await storage.begin(key, options.lease?.next as BeginOptions);
  assert.ok(!begun.busy, 'the next turn was refused');
  return begun.record;
}
