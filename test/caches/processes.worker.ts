import { createCaches } from '../../src/caches/index.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';

/** Counts, appends and sets on one row, and competes for the making and the taking of many. */
const { options, tenantId, worker, count } = JSON.parse(process.argv[2] ?? '{}') as {
  options: StorageOptions;
  tenantId: string;
  worker: number;
  count: number;
};
const storage = await openStorage(options);
const { tableCache } = createCaches({ storage, tenantId });
let [created, taken, lost] = [0, 0, 0];
for (let i = 0; i < count; i++) {
  await tableCache.incrementField('shared', 'row', 'n');
  await tableCache.appendToList('shared', 'row', 'list', `${worker}-${i}`);
  await tableCache.setField('shared', 'row', `last${worker}`, i);
  const made = await tableCache.createIfAbsent('jobs', `job ${i}`, { status: 'pending', by: worker });
  if (made.status === 'created') created++;
  else if (made.row === undefined) lost++;
  const took = await tableCache.replaceIf('jobs', `job ${i}`, { status: 'taken', by: worker }, { status: 'pending' });
  if (took.status === 'replaced') taken++;
  else if (took.row === undefined) lost++;
}
process.stdout.write(`${JSON.stringify({ created, taken, lost })}\n`);
await storage.close();
