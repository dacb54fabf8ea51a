import { cp, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileStorage } from '../../../src/storage/file/file-storage.js';
import { runWorker, startWorker } from '../../support/workers.js';

const WRITER = join(import.meta.dirname, 'writer.worker.ts');
const COMPACTION = join(import.meta.dirname, 'compaction.worker.ts');
const key = { space: 'contexts', scope: [], id: 'c' };

let directory: string;
let file: string;
let storage: FileStorage;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'agentup-compaction-'));
  file = join(directory, 'contexts/c.jsonl');
  storage = new FileStorage({ storageDir: directory });
});
afterEach(async () => {
  await storage.close();
  await rm(directory, { recursive: true, force: true });
});

const generation = async () => JSON.parse((await readFile(file, 'utf8')).split('\n')[0] ?? '{}').gen;

describe('compaction', () => {
  it('loses nothing while several processes write and read', async () => {
    let writing = true;
    const writers = Promise.all(['a', 'b'].map((name) => runWorker(WRITER, { directory, name, count: 500, id: 'c' })));
    void writers.finally(() => {
      writing = false;
    });
    let last = 0;
    while (writing) {
      const record = await storage.read(key, { log: 4 });
      if (record) {
        const n = Number(record.fields.get('n'));
        expect(n).toBeGreaterThanOrEqual(last);
        expect(record).toMatchObject({ version: n, logTotal: 2 * n });
        expect(record.log).toHaveLength(Math.min(4, 2 * n));
        const page = await storage.readLog(key, { before: 2 * n, limit: 200 });
        expect(page.entries).toHaveLength(Math.min(200, 2 * n));
        last = n;
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await writers;
    const record = await storage.read(key, { log: 5_000 });
    expect(record).toMatchObject({ version: 1_000, logTotal: 2_000 });
    expect(new Set(record?.log.map((entry) => JSON.parse(entry).split(' ')[0])).size).toBe(2_000);
    expect(Number(await generation())).toBeGreaterThan(1);
    expect((await readdir(join(directory, 'contexts'))).sort()).toEqual(['c.jsonl']);
  });

  it('keeps commit ids, times, owner, expiry and what was dropped', async () => {
    const value = JSON.stringify('x'.repeat(3_000));
    await storage.commit(key, [{ op: 'owner', owner: 'u1' }], { expiry: { set: 1_000 } });
    const first = await storage.commit(key, [{ op: 'increment', field: 'n', by: 1 }], { commitId: 'c-1' });
    for (let n = 0; n < 150; n++) {
      await storage.commit(
        key,
        [
          { op: 'set', field: 'big', value },
          { op: 'log', entry: `${n}` },
        ],
        { logMax: 10 },
      );
    }
    const before = await storage.read(key, { log: 99 });
    await expect.poll(generation).toBe('2');
    expect((await stat(file)).size).toBeLessThan(300_000);
    const other = new FileStorage({ storageDir: directory });
    expect(await other.read(key, { log: 99 })).toEqual(before);
    expect(await other.commit(key, [{ op: 'increment', field: 'n', by: 1 }], { commitId: 'c-1' })).toEqual(first);
    await other.close();
  });

  it('says while it goes on that its process lives, to those who cannot see it', async () => {
    const began = Date.now();
    const value = JSON.stringify('x'.repeat(3_000));
    for (let n = 0; n < 120; n++) await storage.commit(key, [{ op: 'set', field: 'big', value }]);
    await expect.poll(generation).toBe('2');
    const owners = (await readdir(join(directory, '.processes'))).filter((name) => !name.includes('.'));
    const times = await Promise.all(
      owners.map(async (name) => (await stat(join(directory, '.processes', name))).mtimeMs),
    );
    expect(times).toHaveLength(1);
    // File systems keep two seconds at their coarsest.
    expect(times[0]).toBeGreaterThan(began - 2_000);
  });

  it.each([
    ['Latin', 'hello there, '],
    ['Chinese', '你好，世界'],
    ['emoji', '👋🌍'],
  ])('is for what is gone: messages in %s are appended, and the file is never written anew', async (_, words) => {
    const entry = JSON.stringify({ role: 'user', content: words.repeat(1_000 / words.length) });
    for (let n = 0; n < 400; n++) await storage.commit(key, [{ op: 'log', entry }]);
    const fields = Array.from({ length: 500 }, (_, n) => ({ op: 'set' as const, field: `f${n}`, value: entry }));
    for (const changes of [fields, [], []]) await storage.commit(key, [{ op: 'touch' }, ...changes]);
    expect((await stat(file)).size).toBeGreaterThan(900_000);
    expect(await generation()).toBe('1');
    // Nor by those who open it from its end, or read it from its start.
    await utimes(file, new Date(), new Date());
    for (const from of [new FileStorage({ storageDir: directory }), storage]) {
      for (let n = 0; n < 2; n++)
        await from.commit(key, [
          { op: 'log', entry },
          { op: 'set', field: 'f', value: entry },
        ]);
      await from.close();
    }
    expect(await generation()).toBe('1');
  });

  it('leaves a compacted file as easy to edit as any', async () => {
    const value = JSON.stringify('x'.repeat(3_000));
    await storage.commit(key, [
      { op: 'set', field: 'name', value: '"Ada"' },
      { op: 'log', entry: '"hello"' },
    ]);
    for (let n = 0; n < 120; n++) await storage.commit(key, [{ op: 'set', field: 'big', value }]);
    await expect.poll(generation).toBe('2');
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace('"Ada"', '"Eva"').replace('"hello"', '"goodbye"'));
    for (const from of [storage, new FileStorage({ storageDir: directory })]) {
      const record = await from.read(key, { log: 1 });
      expect(record?.log).toEqual(['"goodbye"']);
      expect(record?.fields.get('name')).toBe('"Eva"');
      expect(record?.fields.get('big')).toBe(value);
    }
  });

  it('a damaged line goes with it, once a copy has been kept', async () => {
    await storage.commit(key, [{ op: 'set', field: 'a', value: '1' }]);
    await storage.commit(key, [{ op: 'log', entry: '"kept"' }]);
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace('"set"', '"set'));
    await storage.commit(key, [{ op: 'set', field: 'b', value: '2' }]);
    await expect.poll(generation).toBe('2');
    const [copy = ''] = (await readdir(join(directory, 'contexts'))).filter((name) => name.includes('.corrupt-'));
    expect(await readFile(join(directory, 'contexts', copy), 'utf8')).toBe(text.replace('"set"', '"set'));
    const reports: unknown[] = [];
    const logger = { ...console, error: (...args: unknown[]) => void reports.push(args) };
    const other = new FileStorage({ storageDir: directory, logger });
    expect(await other.read(key, { log: 9 })).toMatchObject({ log: ['"kept"'], fields: new Map([['b', '2']]) });
    expect(reports).toEqual([]);
    await other.close();
  });

  it('goes by what was read under its own lock, not by what the record was before', async () => {
    const other = new FileStorage({ storageDir: directory });
    const long = JSON.stringify('x'.repeat(600_000));
    await storage.commit(key, [{ op: 'set', field: 'a', value: '1' }]);
    await other.delete(key);
    await other.commit(key, [{ op: 'set', field: 'a', value: long }]);
    expect((await storage.read(key))?.fields.get('a')).toBe(long);
    await other.begin(key, { token: 'turn', leaseMs: 60_000 });
    expect(await storage.sweep({ space: 'contexts', updatedBefore: Date.now() + 1_000 })).toBe(0);
    // What is made anew is so after the answer.
    await storage.close();
    expect((await other.read(key))?.fields.get('a')).toBe(long);
    await other.close();
  });

  it('that was cut off half way is begun again', async () => {
    await writeFile(join(directory, 'x'), '');
    await storage.commit(key, [{ op: 'touch' }]);
    await writeFile(`${file}.tmp`, (await readFile(file, 'utf8')).slice(0, 30));
    const value = JSON.stringify('x'.repeat(3_000));
    for (let n = 0; n < 120; n++) await storage.commit(key, [{ op: 'set', field: 'big', value }]);
    await expect.poll(generation).toBe('2');
    expect((await readdir(join(directory, 'contexts'))).sort()).toEqual(['c.jsonl']);
  });

  it('is on the disk before it takes the place of the old file, and the name after', async () => {
    await storage.commit(key, [{ op: 'touch' }]);
    const [, steps = '[]'] = await runWorker(COMPACTION, { directory, at: -1 });
    const order = ['fsync c.jsonl.tmp', 'renameSync c.jsonl.tmp', 'fsyncSync contexts'];
    expect((JSON.parse(steps) as string[]).filter((step) => order.includes(step))).toEqual(order);
  });

  it('may be cut off by kill -9 between any two of its steps: all is there, nothing is in the way', async () => {
    const value = JSON.stringify('x'.repeat(10_000));
    const made = join(directory, 'made');
    const maker = new FileStorage({ storageDir: made });
    await maker.commit(key, [{ op: 'owner', owner: 'u1' }]);
    // Up to just before it would be compacted.
    for (let n = 0; n < 20; n++) {
      const changes = [
        { op: 'set', field: 'big', value },
        { op: 'log', entry: '"said"' },
      ] as const;
      await maker.commit(key, [...changes, { op: 'increment', field: 'n', by: 1 }]);
    }
    await maker.close();
    expect(await readFile(join(made, 'contexts/c.jsonl'), 'utf8')).toContain('"gen":"1"');
    const numbers = new Set<number>();

    let at = 0;
    let done = false;
    const lane = async () => {
      while (!done) {
        const mine = at++;
        const copy = join(directory, String(mine));
        await cp(made, copy, { recursive: true, preserveTimestamps: true });
        const worker = startWorker(COMPACTION, { directory: copy, at: mine });
        const { value: said } = await worker.lines.next();
        const ended = await worker.ended;
        expect([said, ended]).toEqual(said ? ['done', 0] : [undefined, 'SIGKILL']);
        const after = new FileStorage({ storageDir: copy });
        const record = await after.read(key, { log: 99 });
        const n = Number(record?.fields.get('n'));
        expect(record, `step ${mine}`).toMatchObject({ version: n + 1, logTotal: n, owner: 'u1' });
        expect(record?.fields.get('big')).toBe(value);
        expect(record?.log).toEqual(Array(n).fill('"said"'));
        numbers.add(n);
        const began = performance.now();
        await after.commit(key, [{ op: 'touch' }]);
        expect(performance.now() - began).toBeLessThan(1_000);
        await after.close();
        expect((await readdir(join(copy, 'contexts'))).sort(), `step ${mine}`).toEqual(['.by-owner', 'c.jsonl']);
        if (said) done = true;
      }
    };
    await Promise.all([lane(), lane()]);
    expect(at).toBeGreaterThan(6);
    // What brought it about was written before it began, and acknowledged.
    expect(numbers.size).toBe(1);
  });
});
