import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { basename } from 'node:path';

/**
 * Makes commits until its file is compacted, and dies before the `at`th change on the disk that this takes. Where it
 * lives, prints `done` and then what it brought to the disk and put in its place, in that order.
 */
const { directory, at } = JSON.parse(process.argv[2] ?? '{}') as { directory: string; at: number };
/** What changes something on the disk: between two others nothing can have happened. */
const CHANGES = /^(?:(?:open|write|futimes|ftruncate|rename|unlink|rm|fsync)Sync|fsync)$/;
let met = -1;
const paths = new Map<unknown, string>();
const steps: string[] = [];
for (const name of Object.keys(fs) as (keyof typeof fs)[]) {
  const real = fs[name] as (...args: unknown[]) => unknown;
  if (typeof real !== 'function' || !CHANGES.test(name)) continue;
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      if (met < 0 && name === 'openSync' && String(args[0]).endsWith('.jsonl.tmp')) met = 0;
      if (met >= 0 && met++ === at) process.kill(process.pid, 'SIGKILL');
      // The lock is given back: that was all.
      if (met >= 0 && name === 'unlinkSync' && String(args[0]).endsWith('.jsonl.lock')) met = Number.POSITIVE_INFINITY;
      const file = basename(paths.get(args[0]) ?? String(args[0]));
      if (Number.isFinite(met) && /^(fsync|fsyncSync|renameSync)$/.test(name)) steps.push(`${name} ${file}`);
      const answer = real(...args);
      if (name === 'openSync') paths.set(answer, String(args[0]));
      return answer;
    },
  });
}
syncBuiltinESMExports();
const { FileStorage } = await import('../../../src/storage/file/file-storage.js');
const storage = new FileStorage({ storageDir: directory });
const key = { space: 'contexts', scope: [], id: 'c' };
const value = JSON.stringify('x'.repeat(10_000));
while (met < 0) {
  await storage.commit(key, [
    { op: 'set', field: 'big', value },
    { op: 'log', entry: '"said"' },
    { op: 'increment', field: 'n', by: 1 },
  ]);
}
await storage.close();
process.stdout.write(`done\n${JSON.stringify(steps)}\n`);
