import assert from 'node:assert/strict';
import { RESERVATION_MS } from '../storage/state-storage.js';
import type { Harness } from './harness.js';
import { commit, refusedLease, sets, take } from './steps.js';

/** The first one refused is the next one served. In real time every wait leaves room for a slow machine. */
export function testReservations(harness: Harness): void {
  harness.group('the first one refused is served next', () => {
    harness.test('a newcomer does not overtake', async ({ storage, key }) => {
      await inTime(async (attempt) => {
        const record = key(`record-${attempt}`);
        await take(storage, record, 'a');
        const since = Date.now();
        await refusedLease(storage, record, 'b');
        await refusedLease(storage, record, 'c');
        await commit(storage, record, sets({ x: '1' }), { lease: { token: 'a' } });
        const c = await storage.begin(record, { token: 'c', leaseMs: 60_000 });
        const b = await storage.begin(record, { token: 'b', leaseMs: 60_000 });
        return { since, held: c.busy && !b.busy };
      });
    });

    harness.test('nor where the lease was released without writing', async ({ storage, key }) => {
      await inTime(async (attempt) => {
        const record = key(`record-${attempt}`);
        await take(storage, record, 'a');
        const since = Date.now();
        await refusedLease(storage, record, 'b');
        await commit(storage, record, [], { lease: { token: 'a' } });
        const c = await storage.begin(record, { token: 'c', leaseMs: 60_000 });
        const b = await storage.begin(record, { token: 'b', leaseMs: 60_000 });
        return { since, held: c.busy && !b.busy };
      });
    });

    harness.test('nor where the record was cleaned up meanwhile', async ({ storage, key, space }) => {
      await inTime(async (attempt) => {
        const record = key(`record-${attempt}`);
        await take(storage, record, 'a');
        const since = Date.now();
        await refusedLease(storage, record, 'b');
        const { updatedAt } = await commit(storage, record, sets({ x: '1' }), { lease: { token: 'a' } });
        assert.equal(await storage.sweep({ space, updatedBefore: updatedAt + 1 }), 1);
        const c = await storage.begin(record, { token: 'c', leaseMs: 60_000 });
        const b = await storage.begin(record, { token: 'b', leaseMs: 60_000 });
        return { since, held: c.busy && !b.busy };
      });
    });

    harness.test('nor where the holder has asked for its lease once more, and kept it', async ({ storage, key }) => {
      await inTime(async (attempt) => {
        const record = key(`record-${attempt}`);
        await take(storage, record, 'a');
        const since = Date.now();
        await refusedLease(storage, record, 'b');
        await take(storage, record, 'a');
        await commit(storage, record, [], { lease: { token: 'a', keepMs: 60_000 } });
        await commit(storage, record, [], { lease: { token: 'a' } });
        const c = await storage.begin(record, { token: 'c', leaseMs: 60_000 });
        const b = await storage.begin(record, { token: 'b', leaseMs: 60_000 });
        return { since, held: c.busy && !b.busy };
      });
    });

    harness.test('who was served gives the next place to another', async ({ storage, key }) => {
      await inTime(async (attempt) => {
        const record = key(`record-${attempt}`);
        await take(storage, record, 'a');
        const since = Date.now();
        await refusedLease(storage, record, 'b');
        await commit(storage, record, [], { lease: { token: 'a' } });
        const b = await storage.begin(record, { token: 'b', leaseMs: 60_000 });
        const c = await storage.begin(record, { token: 'c', leaseMs: 60_000 });
        if (b.busy || !c.busy) return { since, held: false };
        await commit(storage, record, [], { lease: { token: 'b' } });
        const d = await storage.begin(record, { token: 'd', leaseMs: 60_000 });
        const last = await storage.begin(record, { token: 'c', leaseMs: 60_000 });
        return { since, held: d.busy && !last.busy };
      });
    });

    harness.testAcross('towards another instance', async ({ storage, key, second }) => {
      const other = await second();
      await inTime(async (attempt) => {
        const record = key(`record-${attempt}`);
        await take(storage, record, 'a');
        const since = Date.now();
        await refusedLease(other, record, 'b');
        await commit(storage, record, [], { lease: { token: 'a' } });
        const c = await storage.begin(record, { token: 'c', leaseMs: 60_000 });
        const b = await other.begin(record, { token: 'b', leaseMs: 60_000 });
        return { since, held: c.busy && !b.busy };
      });
    });

    harness.testOverTime('a place that is not asked for lapses', async ({ storage, key, pass }) => {
      await take(storage, key(), 'a');
      await refusedLease(storage, key(), 'b');
      await commit(storage, key(), [], { lease: { token: 'a' } });
      await pass(2 * RESERVATION_MS);
      await take(storage, key(), 'c');
    });

    harness.testOverTime('a place that lapsed goes to the next one refused', async ({ storage, key, pass }) => {
      await take(storage, key('gone'), 'a');
      await refusedLease(storage, key('gone'), 'b');
      await pass(2 * RESERVATION_MS);
      await inTime(async (attempt) => {
        const record = attempt === 0 ? key('gone') : key(`gone-${attempt}`);
        if (attempt > 0) await take(storage, record, 'a');
        const since = Date.now();
        await refusedLease(storage, record, 'c');
        await commit(storage, record, [], { lease: { token: 'a' } });
        const b = await storage.begin(record, { token: 'b', leaseMs: 60_000 });
        const c = await storage.begin(record, { token: 'c', leaseMs: 60_000 });
        return { since, held: b.busy && !c.busy };
      });
    });
  });
}

/**
 * A place lapses after RESERVATION_MS, also because a busy machine took long between two lines of a test: a failure
 * counts only where there was time enough.
 */
async function inTime(check: (attempt: number) => Promise<{ since: number; held: boolean }>): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const { since, held } = await check(attempt);
    if (held) return;
    if (Date.now() - since < RESERVATION_MS || attempt === 5) {
      throw new Error('the place of the first one refused was given to another');
    }
  }
}
