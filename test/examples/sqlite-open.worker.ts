import { sqliteStorage } from '../../examples/sqlite-storage/sqlite-storage.js';

/** Writes once to each of the files, which others open at the same moments; prints how often that was done. */
const { files, from, every } = JSON.parse(process.argv[2] ?? '{}') as { files: string[]; from: number; every: number };
let done = 0;
for (const [i, file] of files.entries()) {
  while (Date.now() < from + i * every);
  const storage = sqliteStorage(file);
  await storage.commit({ space: 'contexts', scope: [], id: 'shared' }, [{ op: 'increment', field: 'n', by: 1 }]);
  await storage.close();
  done++;
}
process.stdout.write(`${done}\n`);
