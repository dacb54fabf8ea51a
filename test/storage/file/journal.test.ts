import { readFileSync } from 'node:fs';
import {
  appendFile,
  copyFile,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileStorage } from '../../../src/storage/file/file-storage.js';
import type { Change } from '../../../src/storage/state-storage.js';
import { TestClock } from '../../support/test-clock.js';

const key = { space: 'contexts', scope: [], id: 'ada' };
let directory: string;
let file: string;
const open: FileStorage[] = [];

function fresh(clock?: TestClock): FileStorage {
  const storage = new FileStorage({ storageDir: directory, ...(clock && { clock }) });
  open.push(storage);
  return storage;
}

const message = (n: number): Change => ({
  op: 'log',
  entry: JSON.stringify({ role: 'user', content: `${n} ${'x'.repeat(280)}` }),
});
const read = async (storage: FileStorage, name: string) => (await storage.read(key))?.fields.get(name);

/** A record with a checkpoint far from either end of its file. */
async function long(storage: FileStorage, turns = 200): Promise<void> {
  await storage.commit(key, [{ op: 'set', field: 'var:name', value: '"Ada"' }]);
  for (let n = 0; n < turns; n++) await storage.commit(key, [message(2 * n), message(2 * n + 1)]);
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'agentup-journal-'));
  file = join(directory, 'contexts/ada.jsonl');
});
afterEach(async () => {
  for (const storage of open.splice(0)) await storage.close();
  await rm(directory, { recursive: true, force: true });
});

describe('a journal', () => {
  it('is what the documentation says', async () => {
    const storage = fresh(new TestClock(Date.UTC(2026, 0, 1, 10)));
    await storage.commit(key, [
      { op: 'owner', owner: 'u1' },
      { op: 'set', field: 'var:name', value: '"Ada"' },
      { op: 'increment', field: 'var:visits', by: 1 },
      { op: 'log', entry: '{"role":"user","content":"hi"}' },
    ]);
    await storage.commit(
      key,
      [
        { op: 'append', field: 'var:tags', item: '"a"' },
        { op: 'append', field: 'var:tags', item: '-0' },
        { op: 'remove', field: 'var:name' },
        { op: 'log', entry: '1' },
      ],
      { expiry: { set: 60 }, logMax: 1, commitId: 'c-1' },
    );
    await storage.commit(key, [{ op: 'clearLog' }, { op: 'clearFields' }, { op: 'owner', owner: undefined }]);
    expect(await readFile(file, 'utf8')).toBe(
      `{"agentup":1,"gen":"1","id":"ada","created":"2026-01-01T10:00:00.000Z"}
[{"at":"2026-01-01T10:00:00.000Z","v":1},{"owner":"u1"},{"set":{"var:name":"Ada","var:visits":1}},{"m":{"role":"user","content":"hi"}}]
[{"at":"2026-01-01T10:00:00.000Z","v":2,"expires":"2026-01-01T10:01:00.000Z","ttl":60,"id":"c-1"},{"remove":["var:name"]},{"append":{"var:tags":["a",-0]}},{"m":1},{"from":1}]
[{"at":"2026-01-01T10:00:00.000Z","v":3},{"clear":"fields"},{"clear":"log"},{"owner":null}]
`,
    );
    expect(await readFile(join(directory, 'agentup.json'), 'utf8')).toBe('{"format":1}\n');
  });

  it('says when the record expires only where that changes', async () => {
    const clock = new TestClock(Date.UTC(2026, 0, 1, 10));
    const storage = fresh(clock);
    const touch = async (renew: number | 'none') => {
      await storage.commit(key, [{ op: 'touch' }], { expiry: { renew } });
      const last = (await readFile(file, 'utf8')).trim().split('\n').at(-1) as string;
      return [JSON.parse(last)].flat()[0].expires;
    };
    expect(await touch('none')).toBeUndefined();
    expect(await touch(60)).toBe('2026-01-01T10:01:00.000Z');
    expect(await touch(60)).toBeUndefined();
    clock.advance(1_000);
    expect(await touch(60)).toBe('2026-01-01T10:01:01.000Z');
    expect(await touch('none')).toBeNull();
    expect(await touch('none')).toBeUndefined();
  });

  it('is opened from its end: what is read does not grow with it', async () => {
    const storage = fresh();
    await long(storage, 3_000);
    expect((await stat(file)).size).toBeGreaterThan(1_500_000);
    const other = fresh();
    const before = bytesRead();
    const record = await other.read(key, { log: 20 });
    expect(bytesRead() - before).toBeLessThan(300_000);
    expect(record).toMatchObject({ logTotal: 6_000, fields: new Map([['var:name', '"Ada"']]) });
    expect(record?.log.map((entry) => Number.parseInt(JSON.parse(entry).content, 10))).toEqual(
      Array.from({ length: 20 }, (_, index) => 5_980 + index),
    );
    const again = bytesRead();
    const page = await other.readLog(key, { before: 1_003, limit: 5 });
    expect(page.entries.map((entry) => Number.parseInt(JSON.parse(entry).content, 10))).toEqual([
      998, 999, 1000, 1001, 1002,
    ]);
    expect(bytesRead() - again).toBeLessThan(1_000_000);
  });

  it('every page of a long log is right, from wherever it is read', async () => {
    const storage = fresh();
    await storage.commit(key, [{ op: 'log', entry: '"before"' }, { op: 'clearLog' }]);
    for (let n = 0; n < 2_500; n++) await storage.commit(key, [message(n)], { logMax: 2_000 });
    for (const from of [storage, fresh()]) {
      const seen: number[] = [];
      for (let before: number | undefined; ; ) {
        const page = await from.readLog(key, { limit: 137, ...(before !== undefined && { before }) });
        expect(page).toMatchObject({ total: 2_500, dropped: 500 });
        if (page.entries.length === 0) break;
        seen.unshift(...page.entries.map((entry) => Number.parseInt(JSON.parse(entry).content, 10)));
        expect(page.start).toBe(seen[0]);
        before = page.start;
      }
      expect(seen).toEqual(Array.from({ length: 2_000 }, (_, index) => 500 + index));
    }
  });

  it('is not read by a checkpoint that has rotted, neither where it is opened nor where a page is looked for', async () => {
    await long(fresh());
    const { mtime } = await stat(file);
    const text = await readFile(file, 'utf8');
    const rotten = text.replaceAll(/("log":\{"total":)\d/g, (_, before) => `${before}1`);
    expect(rotten).not.toBe(text);
    await writeFile(file, rotten);
    // Not by a hand: that would have left its time.
    await utimes(file, mtime, mtime);
    const page = await fresh().readLog(key, { before: 203, limit: 5 });
    expect(page).toMatchObject({ total: 400, start: 198 });
    expect(page.entries.map((entry) => Number.parseInt(JSON.parse(entry).content, 10))).toEqual([
      198, 199, 200, 201, 202,
    ]);
  });

  it('whose clock was set back, or whose file was copied, is read all the same', async () => {
    const clock = new TestClock();
    const storage = fresh(clock);
    await long(storage, 100);
    clock.advance(-86_400_000);
    await storage.commit(key, [message(999)]);
    await utimes(file, new Date(), new Date());
    expect(await fresh().read(key, { log: 1 })).toMatchObject({ logTotal: 201 });
  });

  it('has the time of its last line, which is what cleaning up goes by', async () => {
    const clock = new TestClock();
    await fresh(clock).commit(key, [{ op: 'touch' }]);
    expect((await stat(file)).mtimeMs).toBeCloseTo(clock.now(), 1);
  });
});

/** Writes as a hand does, which is slower than the tick of a file system's clock: some milliseconds after the commit. */
async function edited(path: string, text: string): Promise<void> {
  await writeFile(path, text);
  await utimes(path, new Date(), new Date(Date.now() + 20));
}

describe('an edit before a checkpoint', () => {
  const edits: [string, (text: string) => string][] = [
    ['of the same size', (text) => text.replace('"Ada"', '"Eva"')],
    ['that shifts all that follows', (text) => text.replace('"Ada"', '"Grace Hopper"')],
    ['by an added line', (text) => text.replace('\n[', '\n[{"at":"2026-01-01T00:00:00Z"},{"set":{"var:x":1}}]\n[')],
    ['in the checkpoints', (text) => text.replaceAll(/(\{"snap".*)"Ada"/g, '$1"Eva"')],
  ];

  it.each(edits)('%s is seen by all, before and after the next commit', async (_name, edit) => {
    const [warm, writer] = [fresh(), fresh()];
    await long(writer);
    await warm.read(key);
    const before = await readFile(file, 'utf8');
    expect(before).toContain('{"snap":');
    const after = edit(before);
    expect(after).not.toBe(before);
    await edited(file, after);
    const name = after.includes('Grace') ? '"Grace Hopper"' : after.includes('Eva') ? '"Eva"' : '"Ada"';
    const x = after.includes('var:x') ? '1' : undefined;
    for (const storage of [warm, fresh(), writer]) {
      expect(await read(storage, 'var:name')).toBe(name);
      expect(await read(storage, 'var:x')).toBe(x);
    }
    await writer.commit(key, [message(1_000)]);
    await writer.commit(key, [message(1_001)]);
    // Said once, by the one who noticed, for all.
    expect((await readFile(file, 'utf8')).match(/"edited":true/g)).toHaveLength(1);
    for (const storage of [warm, fresh(), writer]) {
      const record = await storage.read(key, { log: 1 });
      expect(record?.fields.get('var:name')).toBe(name);
      expect(record?.fields.get('var:x')).toBe(x);
      expect(record?.logTotal).toBe(402);
    }
  });

  it('of a message is in the history, also as it is told to the next turn', async () => {
    const storage = fresh();
    await long(storage);
    const text = await readFile(file, 'utf8');
    await edited(file, text.replace('"398 xxx', '"398 yyy').replace('"3 xxx', '"3 yyy'));
    for (const from of [storage, fresh()]) {
      const begun = await from.begin(key, { token: 't', leaseMs: 1_000, log: 2 });
      expect(begun).toMatchObject({ record: { log: [expect.stringContaining('398 yyy'), expect.anything()] } });
      await from.commit(key, [], { lease: { token: 't' } });
      expect((await from.readLog(key, { before: 4, limit: 1 })).entries[0]).toContain('3 yyy');
    }
  });

  it('by an editor that puts a new file in its place is seen', async () => {
    const storage = fresh();
    await long(storage);
    await edited(`${file}~`, (await readFile(file, 'utf8')).replace('"Ada"', '"Eva"'));
    await rename(`${file}~`, file);
    expect(await read(storage, 'var:name')).toBe('"Eva"');
    await storage.commit(key, [message(1)]);
    expect(await read(fresh(), 'var:name')).toBe('"Eva"');
  });

  it('a line need say no more than what it sets', async () => {
    const storage = fresh();
    await long(storage, 1);
    await appendFile(file, '{"set":{"var:name":"Eva"}}\r\n\n{"m":"hello"}');
    const record = await storage.read(key, { log: 1 });
    expect(record).toMatchObject({ logTotal: 3, log: ['"hello"'], version: 4 });
    expect(record?.fields.get('var:name')).toBe('"Eva"');
  });
});

describe('what is left beside the records', () => {
  it('nothing, after turns, a deletion, a cleanup and closing', async () => {
    const storage = fresh();
    for (const id of ['a', 'b', 'c']) {
      await storage.begin({ ...key, id }, { token: id, leaseMs: 1_000 });
      await storage.commit({ ...key, id }, [{ op: 'owner', owner: 'u1' }], { lease: { token: id } });
    }
    await storage.delete({ ...key, id: 'a' });
    expect(await storage.sweep({ space: 'contexts', updatedBefore: Date.now() + 10 })).toBe(2);
    await storage.close();
    expect((await readdir(directory, { recursive: true })).sort()).toEqual([
      '.processes',
      'agentup.json',
      'contexts',
      'contexts/.by-owner',
      'contexts/.by-owner/.entry',
    ]);
  });

  it('an entry of the index that no record stands behind is found out, and goes', async () => {
    const storage = fresh();
    await storage.commit(key, [{ op: 'owner', owner: 'u1' }]);
    const entries = join(directory, 'contexts/.by-owner/u1');
    // As left by a process that died before it had written the record, or after it had removed it.
    await writeFile(join(entries, 'never-written.jsonl'), '');
    await storage.commit({ ...key, id: 'other' }, [{ op: 'owner', owner: 'u2' }]);
    await writeFile(join(entries, 'other.jsonl'), '');
    const ids: string[] = [];
    for await (const info of storage.list({ space: 'contexts', owner: 'u1' })) ids.push(info.key.id);
    expect(ids).toEqual(['ada']);
    expect(await readdir(entries)).toEqual(['ada.jsonl']);
  });

  it('expired records and their entries go when their owner is listed', async () => {
    const clock = new TestClock();
    const storage = fresh(clock);
    await storage.commit(key, [{ op: 'owner', owner: 'u1' }], { expiry: { set: 1 } });
    clock.advance(2_000);
    for await (const info of storage.list({ space: 'contexts', owner: 'u1' })) throw new Error(info.key.id);
    expect(await readdir(join(directory, 'contexts'))).toEqual(['.by-owner']);
    expect(await readdir(join(directory, 'contexts/.by-owner'))).toEqual(['.entry']);
  });

  it('of an owner whose last record is gone, nothing, also below a tenant', async () => {
    const storage = fresh();
    for (const scope of [[], ['t'], ['t', 'u']]) {
      await storage.commit({ ...key, scope }, [{ op: 'owner', owner: 'u1' }]);
      await storage.commit({ ...key, scope }, [{ op: 'owner', owner: 'u2' }]);
    }
    expect(await readdir(join(directory, 'contexts/.by-owner'))).toEqual(['.entry', 'u2']);
    for (const scope of [[], ['t']]) await storage.delete({ ...key, scope });
    expect(await readdir(join(directory, 'contexts/.by-owner/u2'), { recursive: true })).toHaveLength(3);
    await storage.delete({ ...key, scope: ['t', 'u'] });
    expect(await readdir(join(directory, 'contexts/.by-owner'))).toEqual(['.entry']);
  });

  it('a temporary file of a dead process is written over', async () => {
    const storage = fresh();
    await storage.ping();
    await storage.commit({ ...key, id: 'x' }, [{ op: 'touch' }]);
    await writeFile(`${file}.tmp`, '{"agentup":1,"gen":"1","id":"ad');
    await storage.commit(key, [{ op: 'touch' }]);
    expect(await fresh().read(key)).toMatchObject({ version: 1 });
  });
});

/** Bytes that this process has read so far, as the system counts them. */
function bytesRead(): number {
  return Number(/rchar: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
}

describe('commit ids', () => {
  it('of the last minute are all known to who opens a busy record, and older ones are not looked for', async () => {
    const clock = new TestClock();
    const storage = fresh(clock);
    const commit = (from: FileStorage, n: number) =>
      from.commit(key, [{ op: 'increment', field: 'n', by: 1 }, message(n)], { commitId: `c-${n}` });
    for (let n = 0; n < 300; n++) {
      await commit(storage, n);
      clock.advance(n < 100 ? 1_000 : 100);
    }
    // The first ones are more than a minute old.
    for (const n of [299, 250, 101, 90]) {
      expect(await commit(fresh(clock), n)).toMatchObject({ version: n + 1, incremented: new Map([['n', n + 1]]) });
    }
    expect(await commit(fresh(clock), 10)).toMatchObject({ version: 301 });
  });

  it('that others have used are known also to who finds another file in the place of the one that he knew', async () => {
    const clock = new TestClock();
    const [storage, warm] = [fresh(clock), fresh(clock)];
    const commit = (from: FileStorage, n: number) => from.commit(key, [message(n)], { commitId: `c-${n}` });
    await commit(warm, 0);
    for (let n = 1; n < 150; n++) await commit(storage, n);
    await copyFile(file, `${file}~`);
    const { mtime } = await stat(file);
    await utimes(`${file}~`, mtime, mtime);
    await rename(`${file}~`, file);
    for (const n of [149, 60, 2]) expect(await commit(warm, n)).toMatchObject({ version: n + 1 });
  });

  it('of the last minute are all known also when the file was written anew, by one who had not read all of it', async () => {
    const clock = new TestClock();
    const value = JSON.stringify('x'.repeat(3_000));
    const commit = (from: FileStorage, n: number) =>
      from.commit(key, [{ op: 'set', field: 'big', value }], { commitId: `c-${n}` });
    const storage = fresh(clock);
    for (let n = 0; n < 45; n++) await commit(storage, n);
    expect(await readFile(file, 'utf8')).toContain('"gen":"1"');
    const other = fresh(clock);
    for (let n = 0; n < 30; n++) await other.commit(key, [{ op: 'set', field: 'big', value }]);
    await other.close();
    expect(await readFile(file, 'utf8')).toContain('"gen":"2"');
    for (const n of [44, 20, 2]) expect(await commit(fresh(clock), n)).toMatchObject({ version: n + 1 });
  });
});
