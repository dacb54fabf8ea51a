import { FileStorage } from '../../../src/storage/file/file-storage.js';

/** Writes to one record until it has done `count` commits, or is killed; prints the number of each that returned. */
const { directory, name, count, id } = JSON.parse(process.argv[2] ?? '{}') as {
  directory: string;
  name: string;
  count: number;
  id: string;
};
const storage = new FileStorage({ storageDir: directory });
const key = { space: 'contexts', scope: [], id };
for (let n = 1; n <= count; n++) {
  await storage.commit(key, [
    { op: 'increment', field: 'n', by: 1 },
    { op: 'increment', field: `n:${name}`, by: 1 },
    { op: 'append', field: 'list', item: `"${name}-${n}"` },
    { op: 'log', entry: `"${name}-${n}-a ${'x'.repeat(n % 300)}"` },
    { op: 'log', entry: `"${name}-${n}-b"` },
    { op: 'set', field: 'last', value: `"${'y'.repeat((n * 37) % 2000)}"` },
  ]);
  // Given to the system before the next one is begun: what is buffered here would die with this process.
  await new Promise((written) => process.stdout.write(`${n}\n`, written));
}
await storage.close();
