/** Sets a row, or looks at one, at a moment of its own, in the time zone of its environment. */
import { createCaches } from '../../src/caches/index.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';
import { TestClock } from '../support/test-clock.js';

interface Args {
  readonly options: StorageOptions;
  readonly tenantId: string;
  /** Of the storage's clock, where it is not the server's. */
  readonly now: number;
  /** Sets a row with this life first. */
  readonly ttl?: number;
  /** Looks again after so many milliseconds each. */
  readonly later?: readonly number[];
}

const { options, tenantId, now, ttl, later = [] } = JSON.parse(process.argv[2] ?? '') as Args;
const clock = new TestClock(now);
const common = options.backend === 'valkey' ? {} : { clock };
const storage = await openStorage(options, common);
const { tableCache } = createCaches({ ...common, storage, tenantId });
if (ttl !== undefined) await tableCache.set('t', 'k', { n: 1 }, { ttl });
const seen: unknown[] = [];
for (const ms of [0, ...later]) {
  clock.advance(ms);
  let expiresAt: number | undefined;
  for await (const info of storage.list({ space: 'cache-tables', scope: [tenantId, 't'] })) expiresAt = info.expiresAt;
  seen.push({ row: (await tableCache.get('t', 'k')) ?? null, expiresAt: expiresAt ?? null });
}
await storage.close();
console.log(JSON.stringify({ offset: new Date(now).getTimezoneOffset(), seen }));
