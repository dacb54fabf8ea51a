import { setTimeout as delay } from 'node:timers/promises';
import { createCaches } from '../../src/caches/index.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';

/** Runs the action `slow`, staying in its handler for a while. */
const { options, tenantId, leaseMs, stay, until } = JSON.parse(process.argv[2] ?? '{}') as {
  options: StorageOptions;
  tenantId: string;
  leaseMs: number;
  stay: number;
  until?: number;
};
const storage = await openStorage(options);
const { expiry } = createCaches({ storage, tenantId });
const stop = expiry.onExpired(
  'slow',
  async ({ identifier }) => {
    process.stdout.write(`run ${identifier}\n`);
    await delay(stay);
    process.stdout.write(`done ${identifier}\n`);
  },
  { leaseMs, everyMs: 50 },
);
await delay(until ?? 60_000);
await stop();
await storage.close();
