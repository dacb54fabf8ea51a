import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { afterAll, describe, expect, it } from 'vitest';
import { sqliteStorage } from '../../examples/sqlite-storage/sqlite-storage.js';
import type { Change, StateStorage } from '../../src/storage/state-storage.js';
import { storageConformance } from '../../src/testing/index.js';
import { TestClock } from '../support/test-clock.js';
import { runWorker, startWorker } from '../support/workers.js';

const WORKER = join(import.meta.dirname, 'sqlite.worker.ts');
const OPENER = join(import.meta.dirname, 'sqlite-open.worker.ts');
const directory = mkdtempSync(join(tmpdir(), 'agentup-sqlite-'));
afterAll(() => rmSync(directory, { recursive: true }));
let files = 0;
const freshFile = () => join(directory, `${++files}.sqlite`);

const key = (id: string, ...scope: string[]) => ({ space: 'contexts', scope, id });
const TOUCH: Change[] = [{ op: 'touch' }];

{
  const clock = new TestClock();
  const file = freshFile();
  const open = async () => sqliteStorage(file, { clock });
  const advance = async (ms: number) => clock.advance(ms);
  storageConformance({ name: 'the SQLite example', open, reopen: open, advance }, { describe, it, afterAll });
}

/** What must hold whatever happened to the writers: commits are there whole or not at all, and once. */
async function checkWhole(storage: StateStorage): Promise<(name: string) => number> {
  const record = await storage.read(key('shared'), { log: 1_000_000 });
  const n = Number(record?.fields.get('n') ?? 0);
  const list = JSON.parse(record?.fields.get('list') ?? '[]') as string[];
  expect(new Set(list).size).toBe(n);
  expect(record?.version ?? 0).toBe(n);
  const said = record?.log.map((token) => (JSON.parse(token) as string).split(' ')[0]) ?? [];
  expect(said).toEqual(list.flatMap((item) => [`${item}-a`, `${item}-b`]));
  return (name) => Number(record?.fields.get(`n:${name}`) ?? 0);
}

describe('several processes on one SQLite file', () => {
  it('lose nothing and tear nothing: 2 × 200 commits on one record', async () => {
    const file = freshFile();
    await Promise.all(['a', 'b'].map((name) => runWorker(WORKER, { file, name, count: 200 })));
    const storage = sqliteStorage(file);
    const of = await checkWhole(storage);
    expect([of('a'), of('b')]).toEqual([200, 200]);
    await storage.close();
  });

  it('may all make the file at the same moment', async () => {
    const made = Array.from({ length: 30 }, freshFile);
    const moments = { files: made, from: Date.now() + 1_500, every: 50 };
    const lines = await Promise.all([1, 2, 3].map(() => runWorker(OPENER, moments)));
    expect(lines).toEqual([['30'], ['30'], ['30']]);
    for (const file of made) {
      const storage = sqliteStorage(file);
      expect((await storage.read(key('shared')))?.fields.get('n')).toBe('3');
      await storage.close();
    }
  });

  it('keep every acknowledged commit through kills at random moments, and go on at once', async () => {
    const file = freshFile();
    const storage = sqliteStorage(file);
    for (let round = 0; round < 2; round++) {
      const acknowledged = await Promise.all(
        ['a', 'b'].map(async (writer) => {
          const name = `${writer}${round}`;
          const worker = startWorker(WORKER, { file, name, count: 1e9 });
          let count = 0;
          for await (const line of worker.lines) {
            if (line === '1') setTimeout(() => worker.process.kill('SIGKILL'), Math.random() * 100);
            count = Number(line);
          }
          expect(await worker.ended).toBe('SIGKILL');
          return { name, count };
        }),
      );
      const of = await checkWhole(storage);
      for (const { name, count } of acknowledged) {
        expect(of(name)).toBeGreaterThanOrEqual(count);
        // At most the one commit whose answer the kill cut off.
        expect(of(name)).toBeLessThanOrEqual(count + 1);
      }
      const begin = performance.now();
      await storage.commit(key('after'), TOUCH);
      expect(performance.now() - begin).toBeLessThan(1_000);
    }
    await storage.close();
  });
});

describe('the tables of the SQLite example', () => {
  it('are searched by an index in every statement, never scanned', async () => {
    const file = freshFile();
    const storage = sqliteStorage(file);
    await storage.ping();
    await storage.close();
    const source = readFileSync('examples/sqlite-storage/sqlite-storage.ts', 'utf8');
    const statements = [...source.matchAll(/sql`([^`]*)`/g)].map(([, text = '']) => text.replace(/\$\{[^}]*\}/g, '?'));
    expect(statements.length).toBeGreaterThan(20);
    const db = new DatabaseSync(file);
    const plans = statements.flatMap((text) => {
      const steps = db.prepare(`EXPLAIN QUERY PLAN ${text}`).all() as { detail: string }[];
      return steps.map(({ detail }) => ({ text, detail }));
    });
    db.close();
    expect(plans.filter(({ detail }) => detail.startsWith('SCAN'))).toEqual([]);
    const searched = (statement: RegExp) =>
      plans.filter(({ text, detail }) => statement.test(text) && / records /.test(detail)).map(({ detail }) => detail);
    const by = (index: string) => [expect.stringMatching(new RegExp(`^SEARCH records USING INDEX ${index} `))];
    expect(searched(/^SELECT key.* WHERE owner = /)).toEqual(by('byOwner'));
    expect(searched(/^SELECT key.* WHERE space = /)).toEqual(by('byAge'));
    expect(searched(/^SELECT key.* WHERE key BETWEEN/)).toEqual(by('sqlite_autoindex_records_1'));
    expect(searched(/^DELETE FROM records WHERE space = /)).toEqual(by('byAge'));
  });

  it('lose over time what nobody asks for any more', async () => {
    const clock = new TestClock();
    const file = freshFile();
    const storage = sqliteStorage(file, { clock });
    for (let index = 0; index < 250; index++) {
      const record = key(`r${index}`);
      await storage.begin(record, { token: 't', leaseMs: 1_000 });
      const changes: Change[] = [
        { op: 'log', entry: '1' },
        { op: 'set', field: 'a', value: '1' },
      ];
      const idempotency = { key: 'm', reply: '1', keep: 9 };
      await storage.commit(record, changes, { expiry: { set: 60 }, commitId: 'c', idempotency });
    }
    clock.advance(61_000);
    for (let index = 0; index < 3; index++) {
      await storage.begin(key('alive'), { token: 't', leaseMs: 1_000 });
      await storage.commit(key('alive'), TOUCH, { lease: { token: 't' }, commitId: `d${index}` });
    }
    await storage.close();
    const db = new DatabaseSync(file);
    const rows = (table: string) => db.prepare(`SELECT count(*) AS n FROM ${table}`).get().n;
    expect(['records', 'fields', 'log', 'replies', 'answers', 'leases'].map(rows)).toEqual([1, 0, 0, 0, 3, 0]);
    db.close();
  });
});

describe('what SQLite fails with', () => {
  it('no file to be had: STORAGE_UNAVAILABLE', async () => {
    await expect(sqliteStorage(join(directory, 'missing', 'x')).ping()).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
    });
  });

  it('a file that is something else, or damaged: RECORD_CORRUPT', async () => {
    const file = freshFile();
    writeFileSync(file, 'not a database '.repeat(1_000));
    await expect(sqliteStorage(file).read(key('a'))).rejects.toMatchObject({ code: 'RECORD_CORRUPT' });
  });

  it('another process that does not end its step: STORAGE_UNAVAILABLE, in time, and then all is well', async () => {
    const file = freshFile();
    const storage = sqliteStorage(file);
    await storage.commit(key('a'), TOUCH);
    const other = new DatabaseSync(file);
    other.exec('BEGIN IMMEDIATE');
    const begin = performance.now();
    await expect(storage.commit(key('a'), TOUCH)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(performance.now() - begin).toBeLessThan(5_000);
    expect((await storage.read(key('a')))?.version).toBe(1);
    other.exec('ROLLBACK');
    other.close();
    await storage.commit(key('a'), TOUCH);
    expect((await storage.read(key('a')))?.version).toBe(2);
    await storage.close();
  });
});
