import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileStorage } from '../../../src/storage/file/file-storage.js';
import { runWorker, startWorker } from '../../support/workers.js';

const WRITER = join(import.meta.dirname, 'writer.worker.ts');
const ROUNDS = Number(process.env['AGENTUP_CRASH_ROUNDS'] ?? 20);

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'agentup-files-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const key = (id: string) => ({ space: 'contexts', scope: [], id });

/** What must hold of a record whatever happened to its writers: commits are there whole or not at all, and once. */
async function checkWhole(storage: FileStorage, id: string): Promise<{ n: number; of: (name: string) => number }> {
  const record = await storage.read(key(id), { log: 1_000_000 });
  if (!record) return { n: 0, of: () => 0 };
  const n = Number(record.fields.get('n'));
  const of = (name: string) => Number(record.fields.get(`n:${name}`) ?? 0);
  const list = JSON.parse(record.fields.get('list') ?? '[]') as string[];
  expect(list).toHaveLength(n);
  expect(new Set(list).size).toBe(n);
  expect(record.log).toHaveLength(2 * n);
  expect(record.version).toBe(n);
  const said = record.log.map((token) => (JSON.parse(token) as string).split(' ')[0]);
  // The entries of a commit stand side by side, in the order of the commits: nobody's came between.
  expect(said).toEqual(list.flatMap((item) => [`${item}-a`, `${item}-b`]));
  return { n, of };
}

describe('several processes on one directory', () => {
  it('lose nothing and tear nothing: 4 × 200 commits on one record', async () => {
    const names = ['a', 'b', 'c', 'd'];
    await Promise.all(names.map((name) => runWorker(WRITER, { directory, name, count: 200, id: 'shared' })));
    const storage = new FileStorage({ storageDir: directory });
    const { n, of } = await checkWhole(storage, 'shared');
    expect(n).toBe(800);
    for (const name of names) expect(of(name)).toBe(200);
    await storage.close();
    expect((await readdir(join(directory, 'contexts'))).sort()).toEqual(['shared.jsonl']);
  });

  it(
    `keep every acknowledged commit through ${ROUNDS} kills at random moments, and go on at once`,
    async () => {
      const storage = new FileStorage({ storageDir: directory });
      const acknowledged = new Map<string, number>();
      let id = '';
      for (let round = 0; round < ROUNDS; round += 2) {
        // A record that grew through hundreds of rounds would have the rest of them spent on comparing it.
        if (round % 20 === 0) id = `crashed-${round}`;
        // Two writers at a time on one record: one that dies must not block the other.
        await Promise.all(
          [0, 1].map(async (of) => {
            const name = `w${round + of}`;
            const worker = startWorker(WRITER, { directory, name, count: 1e9, id });
            for await (const line of worker.lines) {
              if (line === '1') setTimeout(() => worker.process.kill('SIGKILL'), Math.random() * 100);
              acknowledged.set(name, Number(line));
            }
            expect(await worker.ended).toBe('SIGKILL');
          }),
        );
        const { of } = await checkWhole(storage, id);
        for (const name of [`w${round}`, `w${round + 1}`]) {
          const count = acknowledged.get(name) ?? 0;
          expect(of(name)).toBeGreaterThanOrEqual(count);
          // At most the one commit whose answer the kill cut off.
          expect(of(name)).toBeLessThanOrEqual(count + 1);
        }
      }
      expect([...acknowledged.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThan(2 * ROUNDS);
      const begin = performance.now();
      await storage.commit(key(id), [{ op: 'set', field: 'after', value: '1' }]);
      expect(performance.now() - begin).toBeLessThan(1_000);
      await storage.close();
    },
    20_000 + ROUNDS * 4_000,
  );
});
