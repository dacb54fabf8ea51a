import { setTimeout as delay } from 'node:timers/promises';
import { isAgentUpError } from '../../../src/errors.js';
import { FileStorage } from '../../../src/storage/file/file-storage.js';

/** Takes turns at one record as a conversation would: a counter is read, and written back a little later. */
const { directory, turns, id, leaseMs, hold } = JSON.parse(process.argv[2] ?? '{}') as {
  directory: string;
  turns: number;
  id: string;
  leaseMs: number;
  /** Keeps the lease for so long before it commits. */
  hold?: number;
};
const storage = new FileStorage({ storageDir: directory });
const key = { space: 'contexts', scope: [], id };
for (let turn = 1; turn <= turns; turn++) {
  const token = `${process.pid}-${turn}`;
  let begun = await storage.begin(key, { token, leaseMs });
  while (begun.busy) {
    await delay(1 + Math.random() * 4);
    begun = await storage.begin(key, { token, leaseMs });
  }
  process.stdout.write('begun\n');
  const n = Number(begun.record?.fields.get('n') ?? 0);
  await delay(hold ?? Math.random() * 5);
  try {
    await storage.commit(key, [{ op: 'set', field: 'n', value: String(n + 1) }], { lease: { token } });
    process.stdout.write('committed\n');
  } catch (error) {
    if (!isAgentUpError(error)) throw error;
    process.stdout.write(`${error.code}\n`);
  }
}
await storage.close();
