import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createCaches, type TableOptions } from '../../src/caches/index.js';
import { ForwardingStorage } from '../../src/storage/forwarding-storage.js';
import type { RecordKey } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { Change, CommitOptions, ReadOptions } from '../../src/storage/state-storage.js';

/** Counts what has to be waited for one after the other: calls that are made together are one round trip. */
class RoundTrips extends ForwardingStorage {
  #waiting: (() => void)[] = [];

  override async read(key: RecordKey, options?: ReadOptions) {
    await this.#trip();
    return this.inner.read(key, options);
  }

  override async commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions) {
    await this.#trip();
    return this.inner.commit(key, changes, options);
  }

  override async delete(key: RecordKey) {
    await this.#trip();
    return this.inner.delete(key);
  }

  async of(work: () => Promise<unknown>): Promise<number> {
    let [trips, done] = [0, false];
    const ended = work().finally(() => {
      done = true;
    });
    for (;;) {
      // All that follows from the last answers has been asked by then.
      await delay(1);
      if (done && this.#waiting.length === 0) break;
      trips++;
      for (const go of this.#waiting.splice(0)) go();
    }
    await ended;
    return trips;
  }

  #trip(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

it('a write is one round trip; to a table with indexes it is what the documentation says', async () => {
  const storage = new RoundTrips(new MemoryStorage());
  const { tableCache } = createCaches({ storage, tenantId: 't' });
  const trips = async (options: TableOptions): Promise<number[]> => {
    const table = tableCache.table(JSON.stringify(options), undefined, options);
    const writes = [
      () => table.set('k', { a: 1, b: 2, c: 3 }),
      () => table.set('k', { a: 1, b: 2, c: 4 }),
      () => table.setField('k', 'c', 5),
      () => table.set('k', { a: 6, b: 2, c: 5 }),
      () => table.set('k', { a: 1, b: 2, c: 5 }),
      () => table.delete('k'),
    ];
    const counts = [];
    for (const write of writes) counts.push(await storage.of(write));
    return counts;
  };
  expect(await trips({})).toEqual([1, 1, 1, 1, 1, 1]);
  expect(await trips({ ttl: 60 })).toEqual([1, 1, 1, 1, 1, 1]);
  const indexed = [4, 3, 3, 6, 8, 5];
  expect(await trips({ indexes: ['a', 'b'] })).toEqual(indexed);
  expect(await trips({ indexes: ['a', 'b'], ttl: 3600 })).toEqual(indexed);
});
