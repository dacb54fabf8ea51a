import { closeSync, openSync } from 'node:fs';
import { FileStorage } from '../../../src/storage/file/file-storage.js';

/** Works in a process that may open few files; prints how it went, and ends by itself. */
const { directory } = JSON.parse(process.argv[2] ?? '{}') as { directory: string };
const storage = new FileStorage({ storageDir: directory });
const key = (id: string) => ({ space: 'contexts', scope: [], id });
const COUNT = 300;
for (let n = 0; n < COUNT; n++) await storage.commit(key(`r${n}`), [{ op: 'set', field: 'n', value: String(n) }]);
let right = 0;
for (let n = 0; n < COUNT; n++) if ((await storage.read(key(`r${n}`)))?.fields.get('n') === String(n)) right++;

const hoard: number[] = [];
const takeAll = () => {
  try {
    for (;;) hoard.push(openSync('/dev/null', 'r'));
  } catch {
    // There are no more.
  }
};
takeAll();
// It closes one of its own for this.
await storage.commit(key('more'), [{ op: 'touch' }]);
// For what a turn needs as well.
for (let n = 0; n < 10; n++) await storage.read(key(`r${n}`));
takeAll();
const begun = await storage.begin(key('turn'), { token: 't', leaseMs: 60_000 });
takeAll();
// This one has none of its own.
const other = new FileStorage({ storageDir: directory });
const code = await other.commit(key('more'), [{ op: 'touch' }]).then(
  () => 'committed',
  (error: { code: string }) => error.code,
);
for (const file of hoard) closeSync(file);
const after = await other.commit(key('after'), [{ op: 'touch' }]);
process.stdout.write(`${JSON.stringify({ right, busy: begun.busy, code, after: after.committed })}\n`);
