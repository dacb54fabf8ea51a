import { sqliteStorage } from '../../examples/sqlite-storage/sqlite-storage.js';

/** Writes to one record until it has done `count` commits, or is killed; prints the number of each that returned. */
const { file, name, count } = JSON.parse(process.argv[2] ?? '{}') as { file: string; name: string; count: number };
const storage = sqliteStorage(file);
for (let n = 1; n <= count; n++) {
  await storage.commit({ space: 'contexts', scope: [], id: 'shared' }, [
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
