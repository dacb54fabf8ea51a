import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../../src/logger.js';
import { FileStorage } from '../../../src/storage/file/file-storage.js';
import type { Change } from '../../../src/storage/state-storage.js';

/** How often each kind of damage is done; for a long search set AGENTUP_CRASH_ROUNDS=300. */
const ROUNDS = Math.max(60, Number(process.env['AGENTUP_CRASH_ROUNDS'] ?? 0));
const COMMITS = 150;
const key = { space: 'contexts', scope: [], id: 'c' };

let directory: string;
let file: string;
let sound: Buffer;
let time: Date;
let reports: string[];
const open: FileStorage[] = [];

const fresh = () => {
  const report = (...words: unknown[]) => void reports.push(words.join(' '));
  const storage = new FileStorage({ storageDir: directory, logger: { ...silentLogger, warn: report, error: report } });
  open.push(storage);
  return storage;
};
const changesOf = (n: number): Change[] => [
  { op: 'increment', field: 'n', by: 1 },
  { op: 'set', field: `f${n % 5}`, value: JSON.stringify(`${n} é ${'x'.repeat(150)}`) },
  { op: 'log', entry: JSON.stringify(`${n} 你好 ${'y'.repeat(150)}`) },
];
const entryOf = (n: number) => (changesOf(n)[2] as { entry: string }).entry;
const ALL = Array.from({ length: COMMITS }, (_, n) => entryOf(n));
const copies = async () => (await readdir(join(directory, 'contexts'))).filter((name) => name.includes('.corrupt-'));

/** Puts a file in place that has, or has not, the time that its last writer gave it. */
async function put(bytes: Buffer, noticed: boolean): Promise<void> {
  for (const storage of open.splice(0)) await storage.close();
  for (const name of await copies()) await rm(join(directory, 'contexts', name));
  reports = [];
  await writeFile(file, bytes);
  if (!noticed) await utimes(file, time, time);
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'agentup-rot-'));
  file = join(directory, 'contexts/c.jsonl');
  const storage = fresh();
  for (let n = 0; n < COMMITS; n++) await storage.commit(key, changesOf(n));
  sound = await readFile(file);
  time = (await stat(file)).mtime;
  expect(sound.toString().match(/\{"snap":/g)?.length).toBeGreaterThan(1);
});
afterEach(async () => {
  for (const storage of open.splice(0)) await storage.close();
  await rm(directory, { recursive: true, force: true });
});

describe('a journal that was damaged at random', () => {
  it(`keeps all that is before the place where it was cut off (${ROUNDS} times)`, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      // All that is lacking may be the last newline.
      const length = round < 2 ? sound.length - 1 : Math.floor(Math.random() * (sound.length + 1));
      const rest = sound.subarray(0, length);
      const whole = rest
        .toString()
        .split('\n')
        .slice(0, -1)
        .filter((line) => line.startsWith('[')).length;
      // The last line may lack no more than its newline.
      const kept = whole + (sound[length] === 10 && rest.subarray(rest.lastIndexOf(10) + 1)[0] === 91 ? 1 : 0);
      await put(rest, round % 2 === 0);
      const storage = fresh();
      const record = await storage.read(key, { log: COMMITS });
      expect(record?.log ?? [], `cut off at ${length}`).toEqual(ALL.slice(0, kept));
      expect(record?.fields.get('n')).toBe(kept === 0 ? undefined : String(kept));
      expect(await storage.commit(key, changesOf(kept))).toMatchObject({ version: kept + 1, logTotal: kept + 1 });
      expect((await fresh().read(key, { log: COMMITS + 1 }))?.log).toHaveLength(kept + 1);
      const torn = rest.length > 0 && rest.at(-1) !== 10 && sound[length] !== 10;
      expect([await copies(), reports].map(({ length: many }) => many)).toEqual(torn ? [1, 1] : [0, 0]);
    }
  });

  it(`loses no more than the line in which a bit has flipped, and says so (${ROUNDS} times)`, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const at = Math.floor(Math.random() * sound.length);
      const bytes = Buffer.from(sound);
      bytes[at] = (bytes[at] as number) ^ (1 << (round % 8));
      const where = `bit ${round % 8} of byte ${at}, ${JSON.stringify(sound.toString('utf8', at - 20, at + 20))}`;
      await put(bytes, round % 2 === 0);
      const storage = fresh();
      const read = () => storage.read(key, { log: 2 * COMMITS });
      let record: Awaited<ReturnType<typeof read>>;
      try {
        record = await read();
      } catch (error) {
        // A first line that speaks of another format.
        expect(error, where).toMatchObject({ code: 'RECORD_CORRUPT' });
        expect(at).toBeLessThan(sound.indexOf(10));
        expect(await readFile(file)).toEqual(bytes);
        continue;
      }
      const intact = ALL.filter((entry) => record?.log.includes(entry));
      const lost = COMMITS - intact.length;
      // Two where it was the newline between them.
      expect(lost, where).toBeLessThanOrEqual(sound[at] === 10 ? 2 : 1);
      const missing = COMMITS - (record?.log.length ?? 0);
      const lastLine = at > sound.lastIndexOf('\n[');
      if (missing > 0 && !lastLine) {
        expect(reports.join(), where).toContain('cannot be read and are left out');
        expect(await copies()).toHaveLength(1);
      }
      await storage.commit(key, [{ op: 'log', entry: '"after"' }]);
      if (missing > 0) expect(await copies(), where).toHaveLength(1);
      const after = await fresh().read(key, { log: 2 * COMMITS });
      expect(after?.log, where).toEqual([...(record?.log ?? []), '"after"']);
    }
  });
});
