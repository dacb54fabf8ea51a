import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { withState } from '../../src/index.js';
import { exportRecords, migrate, reencrypt } from '../../src/operations/index.js';
import { EncryptedStorage } from '../../src/storage/encryption/index.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';
import type { StateStorage } from '../../src/storage/state-storage.js';
import { valkeyUrl } from '../support/index.js';
import { caches, conversations, digestOf } from './records.js';

const root = mkdtempSync(join(tmpdir(), 'agentup-reencrypt-'));
const open: StateStorage[] = [];
afterAll(async () => {
  for (const storage of open) await storage.close();
  rmSync(root, { recursive: true, force: true });
});

const newKey = (): string => randomBytes(32).toString('base64');
const places: Record<string, StorageOptions> = {
  memory: { backend: 'memory' },
  file: { backend: 'file', storageDir: join(root, 'kept'), durability: 'never' },
  valkey: { backend: 'valkey', url: valkeyUrl(), keyPrefix: `reencrypt-${randomBytes(5).toString('hex')}:` },
};

/** A place of the same kind that nothing is in. */
function anew(place: StorageOptions): StorageOptions {
  if (place.backend === 'file')
    return { ...place, storageDir: `${place.storageDir}-${randomBytes(5).toString('hex')}` };
  if (place.backend === 'valkey') return { ...place, keyPrefix: `reencrypt-${randomBytes(5).toString('hex')}:` };
  return place;
}

/** Every value, message and kept reply, as it is stored. Values sorted: Valkey changes their order while it enlarges a hash. */
async function tokensOf(storage: StateStorage): Promise<string[]> {
  const tokens: string[] = [];
  for (const space of await storage.spaces()) {
    for await (const { key } of storage.list({ space })) {
      const record = await storage.read(key, { log: 10_000, replies: true });
      tokens.push(...[...(record?.fields.values() ?? [])].sort(), ...(record?.log ?? []));
      tokens.push(...(record?.replies?.values() ?? []));
    }
  }
  return tokens;
}

describe('reencrypt', () => {
  it.each(Object.keys(places))(
    '%s: encrypts what is in clear, then with another key, and changes nothing else',
    async (name) => {
      const start = await conversations(24, Date.now() - 60_000);
      await caches(start);
      const storage = await openStorage(places[name] as StorageOptions);
      open.push(storage);
      await migrate(start, storage);
      const all = await digestOf(start);
      const [first, second] = [newKey(), newKey()];

      const before = await tokensOf(storage);
      const dry = await reencrypt(storage, { key: first }, { dryRun: true });
      expect(await tokensOf(storage)).toEqual(before);
      const report = await reencrypt(storage, { key: first });
      expect(report).toEqual(dry);
      expect(report).toEqual({ records: all.records, rewritten: dry.rewritten, values: before.length, lostReplies: 0 });
      expect(dry.rewritten).toBeGreaterThan(40);
      expect(await digestOf(new EncryptedStorage(storage, { key: first }))).toEqual(all);
      expect((await tokensOf(storage)).every((token) => token.startsWith('"\\u0001enc1.'))).toBe(true);

      const rotated = { key: second, previous: [first] };
      expect(await reencrypt(storage, rotated)).toEqual(report);
      const stored = await tokensOf(storage);
      expect(await reencrypt(storage, rotated)).toEqual({
        ...{ records: all.records, rewritten: 0, values: 0, lostReplies: 0 },
      });
      expect(await tokensOf(storage)).toEqual(stored);
      expect(await digestOf(new EncryptedStorage(storage, { key: second }))).toEqual(all);
      await expect(reencrypt(storage, { key: first })).rejects.toMatchObject({ code: 'KEY_MISSING' });
      expect(await tokensOf(storage)).toEqual(stored);
    },
  );

  it('leaves nothing of what it replaces in the files, also where a run was killed in between', async () => {
    const storageDir = mkdtempSync(join(root, 'scrubbed-'));
    const storage = await openStorage({ backend: 'file', storageDir });
    open.push(storage);
    await migrate(await conversations(24, Date.now() - 60_000), storage);
    const written = (): string =>
      readdirSync(storageDir, { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.jsonl'))
        .map((name) => readFileSync(join(storageDir, name), 'utf8'))
        .join('');
    const [first, second] = [newKey(), newKey()];
    const inClear = /message \d|ñ \d/;
    expect(written()).toMatch(inClear);
    await reencrypt(storage, { key: first });
    const all = await digestOf(new EncryptedStorage(storage, { key: first }));
    expect(written()).not.toMatch(inClear);

    const one = storage.scrub?.bind(storage);
    Object.assign(storage, { scrub: () => Promise.resolve() });
    await reencrypt(storage, { key: second, previous: [first] });
    const old = (written().match(/enc1\.[\w-]+/g) ?? []).length;
    Object.assign(storage, { scrub: one });
    expect(await reencrypt(storage, { key: second, previous: [first] })).toMatchObject({ rewritten: 0 });
    expect((written().match(/enc1\.[\w-]+/g) ?? []).length).toBeLessThan(old * 0.7);
    expect(new Set(written().match(/enc1\.[\w-]+/g))).toHaveLength(1);
    expect(await digestOf(new EncryptedStorage(storage, { key: second }))).toEqual(all);

    const files = (): Map<string, number> => {
      const names = readdirSync(storageDir, { recursive: true, encoding: 'utf8' });
      return new Map(names.filter((name) => name.endsWith('.jsonl')).map((name) => [name, inodeOf(storageDir, name)]));
    };
    const before = files();
    const other = await openStorage({ backend: 'file', storageDir });
    open.push(other);
    // One that is in clear comes to them; they are left alone.
    const key = { space: 'contexts', scope: [], id: 'more' };
    await storage.commit(key, [{ op: 'set', field: 'a', value: '"message 0"' }]);
    await reencrypt(other, { key: second });
    expect(written()).not.toMatch(inClear);
    expect(new Map([...files()].filter(([name]) => before.has(name)))).toEqual(before);
  });

  it('fails where a file cannot be written anew, and loses nothing', async () => {
    const storageDir = mkdtempSync(join(root, 'unscrubbed-'));
    const storage = await openStorage({ backend: 'file', storageDir });
    open.push(storage);
    const key = newKey();
    await storage.commit({ space: 'contexts', scope: [], id: 'a' }, [{ op: 'set', field: 'var:x', value: '1' }]);
    mkdirSync(join(storageDir, 'contexts/a.jsonl.tmp'));
    await expect(reencrypt(storage, { key })).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
    rmSync(join(storageDir, 'contexts/a.jsonl.tmp'), { recursive: true });
    expect(await reencrypt(storage, { key })).toMatchObject({ records: 1, values: 0 });
    const read = await new EncryptedStorage(storage, { key }).read({ space: 'contexts', scope: [], id: 'a' });
    expect(read?.fields.get('var:x')).toBe('1');
  });

  it('goes on where it was interrupted', async () => {
    const storage = await conversations(40, Date.now() - 60_000);
    const all = await digestOf(storage);
    const stop = new AbortController();
    const key = newKey();
    const options = { parallel: 4, signal: stop.signal, onProgress: (done: number) => done === 15 && stop.abort() };
    await expect(reencrypt(storage, { key }, options)).rejects.toMatchObject({ code: 'CANCELLED' });
    const report = await reencrypt(storage, { key });
    expect(report.records).toBe(40);
    expect(report.rewritten).toBeGreaterThan(0);
    expect(report.rewritten).toBeLessThanOrEqual(25);
    expect(await digestOf(new EncryptedStorage(storage, { key }))).toEqual(all);
  });

  it('loses nothing of turns that run meanwhile', async () => {
    const storage = new MemoryStorage();
    const [first, second] = [newKey(), newKey()];
    const live = new EncryptedStorage(storage, { key: second, previous: [first] });
    const turn = withState(
      async (_task, context, id) => {
        await context.addToHistory(id, 'user', 'hi');
        await new Promise((resolve) => setImmediate(resolve));
        return context.incrementVariable(id, 'n');
      },
      { storage: live },
    );
    const old = new EncryptedStorage(storage, { key: first });
    for (let i = 0; i < 10; i++) {
      const key = { space: 'contexts', scope: [], id: `c${i}` };
      await old.commit(key, [{ op: 'increment', field: 'var:n', by: 100 }]);
    }
    let reencrypting = true;
    const turns = Array.from({ length: 10 }, async (_, i) => {
      let count = 0;
      while (reencrypting || count < 20) await turn({ id: `${count++}`, contextId: `c${i}`, text: '' });
      return count;
    });
    for (let round = 0; round < 5; round++) {
      const newest = round % 2 ? { key: second, previous: [first] } : { key: first, previous: [second] };
      await reencrypt(storage, newest);
    }
    reencrypting = false;
    for (const [i, turned] of (await Promise.all(turns)).entries()) {
      const record = await live.read({ space: 'contexts', scope: [], id: `c${i}` });
      expect([record?.fields.get('var:n'), record?.logTotal]).toEqual([String(100 + turned), turned]);
    }
  });
});

it.each(Object.keys(places))(
  '%s: a redelivery is answered when the old key is gone, or at least not handled',
  async (name) => {
    const storage = await openStorage(anew(places[name] as StorageOptions));
    open.push(storage);
    const [first, second, third] = [newKey(), newKey(), newKey()];
    const handled: unknown[] = [];
    const on = (options: { key: string; previous?: string[] } | undefined) => (messageId: string) =>
      withState(
        async (task, context, id) => {
          handled.push(task.messageId);
          return `${await context.incrementVariable(id, 'n')}`;
        },
        { storage: options ? new EncryptedStorage(storage, options) : storage },
      )({ id: messageId, messageId, contextId: 'c', text: '' });
    await on(undefined)('in clear');
    await reencrypt(storage, { key: first });
    expect(await on({ key: first })('old')).toBe('2');
    await reencrypt(storage, { key: second, previous: [first] });
    for (const messageId of ['in clear', 'old']) {
      expect(await on({ key: second })(messageId)).toBe(messageId === 'old' ? '2' : '1');
    }
    expect(await on({ key: second })('new')).toBe('3');
    // A process that had not heard of the new key yet, and is gone with its own.
    const key = { space: 'contexts', scope: [], id: 'c' };
    const late = new EncryptedStorage(storage, { key: third, previous: [second] });
    const [workKey = ''] = [...((await storage.read(key, { replies: true }))?.replies?.keys() ?? [])];
    const idempotency = { key: workKey.replace('in clear', 'late'), reply: '{"value":"late"}', keep: 9 };
    await late.commit(key, [], { idempotency });
    for (let round = 0; round < 2; round++) {
      expect(await reencrypt(storage, { key: first, previous: [second] })).toMatchObject({
        ...{ records: 1, rewritten: round === 0 ? 1 : 0, lostReplies: 1 },
      });
    }
    expect(await on({ key: first })('new')).toBe('3');
    await expect(on({ key: first })('late')).rejects.toMatchObject({ code: 'REPLY_NOT_KEPT' });
    // In the order they came: the oldest are the first to be forgotten.
    const names = [...((await storage.read(key, { replies: true }))?.replies?.keys() ?? [])];
    expect(names.map((one) => one.split(' ').slice(2).join(' '))).toEqual(['in clear', 'old', 'new', 'late']);
    expect(handled).toEqual(['in clear', 'old', 'new']);
    // Of a record that cannot be opened nothing is said.
    await expect(on({ key: newKey() })('old')).rejects.toMatchObject({ code: 'KEY_MISSING' });
  },
);

it('a record that somebody writes to after it was read is read again', async () => {
  const storage = new MemoryStorage();
  const [first, second] = [newKey(), newKey()];
  const key = { space: 'contexts', scope: [], id: 'c' };
  const old = new EncryptedStorage(storage, { key: first });
  await old.commit(key, [{ op: 'set', field: 'a', value: '1' }]);
  const read = storage.read.bind(storage);
  let writes = 0;
  storage.read = async (...args) => {
    const record = await read(...args);
    if (writes++ < 3) await old.commit(key, [{ op: 'set', field: 'a', value: String(writes + 10) }]);
    return record;
  };
  await reencrypt(storage, { key: second, previous: [first] });
  expect((await new EncryptedStorage(storage, { key: second }).read(key))?.fields.get('a')).toBe('13');
});

describe('other operations', () => {
  it('an export of an encrypted storage needs its key; a migration takes what is stored as it is', async () => {
    const start = await conversations(8, Date.now() - 60_000);
    const all = await digestOf(start);
    const key = newKey();
    await reencrypt(start, { key });
    const lines = async (storage: StateStorage = start) => {
      for await (const _ of exportRecords(storage));
    };
    await expect(lines()).rejects.toMatchObject({ code: 'KEY_MISSING' });
    const fieldsOnly = new MemoryStorage();
    const record = { space: 'contexts', scope: [], id: 'c' };
    await new EncryptedStorage(fieldsOnly, { key }).commit(record, [{ op: 'set', field: 'a', value: '1' }]);
    await expect(lines(fieldsOnly)).rejects.toMatchObject({
      code: 'KEY_MISSING',
    });
    const target = new MemoryStorage();
    await migrate(start, target);
    expect(await digestOf(new EncryptedStorage(target, { key }))).toEqual(all);
  });
});

function inodeOf(...path: [string, string]): number {
  return statSync(join(...path)).ino;
}
