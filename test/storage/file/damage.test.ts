import { appendFile, mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../../src/logger.js';
import { FileStorage } from '../../../src/storage/file/file-storage.js';

const key = { space: 'contexts', scope: [], id: 'ada' };
let directory: string;
let file: string;
let reports: string[];
let storage: FileStorage;

const fresh = () =>
  new FileStorage({
    storageDir: directory,
    logger: { ...silentLogger, error: (...args) => void reports.push(String(args[0])) },
  });
const field = async (name: string, from = storage) => (await from.read(key))?.fields.get(name);
const copies = async () => (await readdir(join(directory, 'contexts'))).filter((name) => name.includes('.corrupt-'));

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'agentup-files-'));
  file = join(directory, 'contexts/ada.jsonl');
  reports = [];
  storage = fresh();
  await storage.commit(key, [
    { op: 'set', field: 'var:name', value: '"Ada"' },
    { op: 'log', entry: '{"role":"user","content":"hi"}' },
  ]);
  await storage.commit(key, [{ op: 'set', field: 'var:n', value: '1' }]);
  await storage.commit(key, [{ op: 'log', entry: '{"role":"user","content":"bye"}' }]);
});

afterEach(async () => {
  await storage.close();
  await rm(directory, { recursive: true, force: true });
});

describe('a file that somebody edited', () => {
  it('counts as edited, at once', async () => {
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace('"Ada"', '"Grace Hopper"'));
    expect(await field('var:name')).toBe('"Grace Hopper"');
  });

  it('also where its size stayed the same', async () => {
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace('"Ada"', '"Eva"'));
    await utimes(file, new Date(), new Date(Date.now() + 5));
    expect(await field('var:name')).toBe('"Eva"');
  });

  it('also where a line was added, with or without a newline at its end', async () => {
    await appendFile(file, '[{"at":"2026-01-02T00:00:00Z","v":4},{"set":{"var:name":"Grace"}}]');
    expect(await field('var:name')).toBe('"Grace"');
    await storage.commit(key, [{ op: 'increment', field: 'var:n', by: 1 }]);
    expect(await field('var:n', fresh())).toBe('2');
    expect(await field('var:name', fresh())).toBe('"Grace"');
    expect(reports).toEqual([]);
  });

  it('keeps a -0, a __proto__ and what else JSON can say', async () => {
    await appendFile(file, '[{"at":"2026-01-02T00:00:00Z","v":4},{"set":{"__proto__":{"a":[-0]}}}]\n');
    expect(await field('__proto__')).toBe('{"a":[-0]}');
  });
});

describe('a damaged file', () => {
  it('that ends in half a commit is read without it, and goes on behind the last whole one', async () => {
    const { size } = await stat(file);
    await truncate(file, size - 20);
    expect((await storage.read(key, { log: 9 }))?.log).toHaveLength(1);
    await storage.commit(key, [{ op: 'log', entry: '"new"' }]);
    expect((await fresh().read(key, { log: 9 }))?.log).toEqual(['{"role":"user","content":"hi"}', '"new"']);
    expect(await readFile(file, 'utf8')).not.toContain('bye');
  });

  it('with a bad line in the middle is reported and set aside, and the rest of it counts', async () => {
    const lines = (await readFile(file, 'utf8')).split('\n');
    lines[2] = lines[2]?.replace('"set"', '"se\u0000') ?? '';
    await writeFile(file, lines.join('\n'));
    await utimes(file, new Date(), new Date(Date.now() + 20));
    expect((await storage.read(key, { log: 9 }))?.log).toHaveLength(2);
    expect(await field('var:name')).toBe('"Ada"');
    expect(await field('var:n')).toBeUndefined();
    expect(reports).toEqual([expect.stringContaining('lines 3')]);
    expect(await copies()).toHaveLength(1);
    await storage.commit(key, [{ op: 'set', field: 'var:n', value: '2' }]);
    expect(await field('var:n', fresh())).toBe('2');
  });

  it.each([
    ['a word of ours', (text: string) => text.replace('{"set":{"var:n"', '{"sev":{"var:n"')],
    [
      'a byte of a text',
      (text: string) =>
        Buffer.from(text, 'latin1').fill(0xe4, text.indexOf('"var:n"') + 5, text.indexOf('"var:n"') + 6),
    ],
    ['when it expires', (text: string) => text.replace('"v":2', '"v":2,"expires":"20x6-01-01T00:00:00.000Z"')],
  ])('in which %s is another than before is not read as if nothing had been there', async (_, flip) => {
    await writeFile(file, flip(await readFile(file, 'utf8')));
    await utimes(file, new Date(), new Date(Date.now() + 20));
    expect(await storage.read(key, { log: 9 })).toMatchObject({
      fields: new Map([['var:name', '"Ada"']]),
      logTotal: 2,
    });
    expect(reports).toEqual([expect.stringContaining('lines 3')]);
    expect(await copies()).toHaveLength(1);
  });

  it('without its first line still counts: the name says whose it is', async () => {
    const lines = (await readFile(file, 'utf8')).split('\n');
    await writeFile(file, lines.slice(1).join('\n'));
    expect(await field('var:name')).toBe('"Ada"');
    const ids: string[] = [];
    for await (const { key: found } of storage.list({ space: 'contexts' })) ids.push(found.id);
    expect(ids).toEqual(['ada']);
  });

  it.each(['not json at all\n', '{"some":"other json"}\n', '\0\0\0\0\n', 'no newline either', '\0\0\0\0'])(
    'without one line of ours (%j) is an error, never an empty conversation, and is kept',
    async (text) => {
      await writeFile(file, text);
      const failed = { code: 'RECORD_CORRUPT', details: { file } };
      await expect(storage.read(key)).rejects.toMatchObject(failed);
      await expect(storage.commit(key, [{ op: 'touch' }])).rejects.toMatchObject(failed);
      await expect(storage.begin(key, { token: 't', leaseMs: 1000 })).rejects.toMatchObject(failed);
      expect(await readFile(file, 'utf8')).toBe(text);
      expect((await copies()).length).toBeGreaterThan(0);
    },
  );

  it.each([
    '',
    '{"agentup":1,"gen":"x',
    '{"agentup":1,"gen":"x","id":"ada","created":"2026-01-02T00:00:00.000Z"}\n[{"at":"2026',
  ])('whose first commit was never whole (%j) holds no record, and the next commit begins it', async (text) => {
    await writeFile(file, text);
    expect(await storage.read(key)).toBeUndefined();
    const condition = { exists: false };
    const first = await storage.commit(key, [{ op: 'set', field: 'var:n', value: '1' }], { condition });
    expect(first).toMatchObject({ committed: true, version: 1 });
    const record = await fresh().read(key);
    expect(record).toMatchObject({ version: 1, createdAt: expect.closeTo(Date.now(), -5) });
    expect(await readFile(file, 'utf8')).toMatch(/^\{"agentup":1,.*\}\n\[.*\]\n$/);
    expect(reports).toEqual([]);
  });

  it('of a later format is refused, not misread', async () => {
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace('{"agentup":1', '{"agentup":2'));
    await utimes(file, new Date(), new Date(Date.now() + 20));
    await expect(storage.read(key)).rejects.toMatchObject({ code: 'RECORD_CORRUPT' });
  });

  it('in a directory of a later format is refused, by readers and writers, and left as it is', async () => {
    await writeFile(join(directory, 'agentup.json'), '{"format":2}\n');
    const before = await readdir(directory, { recursive: true });
    const later = fresh();
    const refused = { code: 'RECORD_CORRUPT', details: { fix: expect.stringContaining('version') } };
    await expect(later.read(key)).rejects.toMatchObject(refused);
    await expect(later.commit(key, [{ op: 'touch' }])).rejects.toMatchObject(refused);
    await expect(later.begin(key, { token: 't', leaseMs: 1_000 })).rejects.toMatchObject(refused);
    await expect(later.sweep({ space: 'contexts', updatedBefore: 1 })).rejects.toMatchObject(refused);
    expect(await readdir(directory, { recursive: true })).toEqual(before);
    expect(await readFile(join(directory, 'agentup.json'), 'utf8')).toBe('{"format":2}\n');
  });

  it('does not stop a listing or a cleanup of the others', async () => {
    await storage.commit({ ...key, id: 'grace' }, [{ op: 'touch' }]);
    await writeFile(file, 'garbage\n');
    const ids: string[] = [];
    for await (const { key: found } of storage.list({ space: 'contexts' })) ids.push(found.id);
    expect(ids).toEqual(['grace']);
    expect(await storage.sweep({ space: 'contexts', updatedBefore: Date.now() + 60_000 })).toBe(1);
    expect(await readFile(file, 'utf8')).toBe('garbage\n');
  });
});

describe('a lock or lease left behind', () => {
  it('half written or empty blocks nobody', async () => {
    await writeFile(`${file}.lock`, '');
    await writeFile(`${file}.lease`, '{"token":"x","unt');
    expect(await storage.begin(key, { token: 't', leaseMs: 1000 })).toMatchObject({ busy: false });
    await storage.commit(key, [{ op: 'touch' }], { lease: { token: 't' } });
  });
});
