import { readFile } from 'node:fs/promises';
import { Redis } from 'iovalkey';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RecordKey } from '../../../src/storage/keys.js';
import type { Committed, Expiry } from '../../../src/storage/state-storage.js';
import type { ValkeyStorage } from '../../../src/storage/valkey/valkey-storage.js';
import { collect, freshPrefix, keyOf, Storages, startValkey, type ValkeyServer } from './support.js';

let server: ValkeyServer;
let admin: Redis;
const storages = new Storages();
beforeAll(async () => {
  server = await startValkey();
  admin = new Redis(server.url);
});
afterAll(async () => {
  await storages.close();
  admin.disconnect();
  await server.stop();
});

const touch = [{ op: 'touch' }] as const;

function fresh() {
  const prefix = freshPrefix();
  const storage = storages.make({ url: server.url, keyPrefix: prefix });
  const index = `${prefix}{contexts}`;
  return { prefix, storage, index, due: `${index}:due` };
}

/** How much the index of a space holds. */
async function sizes(index: string): Promise<number[]> {
  return Promise.all([
    admin.zcard(`${index}:names`),
    admin.zcard(`${index}:times`),
    admin.zcard(`${index}:due`),
    admin.zcard(`${index}:owners`),
    admin.hlen(`${index}:owners-of`),
  ]);
}

async function make(storage: ValkeyStorage, keys: RecordKey[], owner = 'Ann'): Promise<void> {
  await Promise.all(keys.map((key) => storage.commit(key, [{ op: 'owner', owner }])));
}

describe('listing', () => {
  it('goes by id through more than one page, from whatever container, owner or prefix', async () => {
    const { storage } = fresh();
    const ids = Array.from({ length: 603 }, (_, i) => `id/${i}`);
    await make(
      storage,
      ids.map((id) => keyOf(id, 'a')),
    );
    await make(
      storage,
      ids.slice(0, 7).map((id) => keyOf(id, 'b', 'a')),
      'Bob',
    );
    await make(storage, [keyOf('id/1'), keyOf('x', 'a')], 'Bob');
    const list = async (query: object) =>
      (await collect(storage.list({ space: 'contexts', ...query }))).map(({ key }) => key);
    expect((await list({ scope: ['a'], prefix: 'id/' })).map(({ id }) => id)).toEqual(ids.toSorted());
    expect(await list({ scope: ['a'], prefix: 'id/59' })).toHaveLength(11);
    expect(await list({ prefix: 'id/3' })).toHaveLength(112);
    expect(await list({ owner: 'Bob' })).toHaveLength(9);
    expect(await list({ owner: 'Bob', scope: ['a'] })).toEqual([keyOf('x', 'a')]);
    expect(await list({ scope: [] })).toEqual([keyOf('id/1')]);
    expect(await list({})).toHaveLength(612);
    expect(await list({ updatedBefore: Date.now() + 60_000, scope: ['b', 'a'] })).toHaveLength(7);
    expect(await list({ updatedBefore: 1 })).toEqual([]);
  });

  it('shows the time of the last write, which the index may not know yet', async () => {
    const { storage, index } = fresh();
    await storage.commit(keyOf('c'), touch);
    const indexed = await admin.zscore(`${index}:times`, '/:c');
    await expect
      .poll(async () => (await storage.commit(keyOf('c'), touch)).committed && Date.now())
      .toBeGreaterThan(Number(indexed) + 30);
    const [info] = await collect(storage.list({ space: 'contexts' }));
    expect(info?.updatedAt).toBeGreaterThan(Number(indexed));
    expect(await collect(storage.list({ space: 'contexts', updatedBefore: Number(indexed) + 20 }))).toEqual([]);
  });

  it('asks for what it finds: no KEYS, no SCAN', async () => {
    const { storage } = fresh();
    await make(storage, [keyOf('a'), keyOf('b')]);
    await admin.config('RESETSTAT');
    await collect(storage.list({ space: 'contexts' }));
    await collect(storage.list({ space: 'contexts', owner: 'Ann', scope: [], prefix: 'a' }));
    await storage.sweep({ space: 'contexts', updatedBefore: Date.now() + 60_000 });
    await storage.delete(keyOf('a'));
    const stats = await admin.info('commandstats');
    expect(stats).toContain('cmdstat_evalsha');
    expect(stats).not.toMatch(/cmdstat_(keys|scan|hscan|sscan|zscan)\b/);
  });

  it('touches only the stale of very many', async () => {
    const { storage, index } = fresh();
    const keys = Array.from({ length: 1_000 }, (_, i) => keyOf(`c${i}`));
    await make(storage, keys);
    const old = Date.now() - 3_600_000;
    for (const { id } of keys.slice(0, 30)) {
      const record = `${index.slice(0, -1)}/:${id}}`;
      const system = (await admin.hget(record, '')) as string;
      await admin.hset(record, '', system.replace(/^(\d+) \d+/, `$1 ${old}`));
      await admin.zadd(`${index}:times`, old, `/:${id}`);
    }
    await admin.config('RESETSTAT');
    expect(await storage.sweep({ space: 'contexts', updatedBefore: old + 1 })).toBe(30);
    const stats = await admin.info('commandstats');
    expect(Number(/cmdstat_unlink:calls=(\d+)/.exec(stats)?.[1])).toBe(30);
    expect(Number(/cmdstat_hget:calls=(\d+)/.exec(stats)?.[1])).toBeLessThan(100);
    expect(await storage.sweep({ space: 'contexts', updatedBefore: old + 1 })).toBe(0);
  });
});

describe('the index', () => {
  it('forgets what is deleted or swept, wherever it was listed', async () => {
    const { storage, index } = fresh();
    const keys = [keyOf('a'), keyOf('b', 'tenant'), keyOf('c', 'tenant', 'Ün')];
    await make(storage, [...keys, keyOf('d', 'tenant')]);
    await expect.poll(() => sizes(index)).toEqual([4, 4, 4, 4, 4]);
    for (const key of keys) expect(await storage.delete(key)).toBe(true);
    await expect.poll(() => sizes(index)).toEqual([1, 1, 1, 1, 1]);
    expect(await storage.sweep({ space: 'contexts', updatedBefore: Date.now() + 60_000 })).toBe(1);
    expect(
      await admin.call('EXISTS', `${index}:names`, `${index}:times`, `${index}:times/tenant`, `${index}:due`),
    ).toBe(0);
  });

  it('is written once for a record that is written all the time', async () => {
    const { storage } = fresh();
    await storage.commit(keyOf('busy'), touch);
    await storage.commit(keyOf('busy'), touch);
    await admin.config('RESETSTAT');
    for (let i = 0; i < 100; i++) await storage.commit(keyOf('busy'), touch, { expiry: { renew: 3_600 } });
    expect(Number(/cmdstat_zadd:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1] ?? 0)).toBeLessThan(10);
  });

  it('follows the owner', async () => {
    const { storage, index } = fresh();
    const owners = async (owner: string) => (await collect(storage.list({ space: 'contexts', owner }))).length;
    await make(storage, [keyOf('a')], 'Ann');
    await make(storage, [keyOf('a')], 'Bob');
    expect([await owners('Ann'), await owners('Bob')]).toEqual([0, 1]);
    await expect.poll(() => admin.zcard(`${index}:owners`)).toBe(1);
    await storage.commit(keyOf('a'), [{ op: 'owner', owner: undefined }]);
    expect(await owners('Bob')).toBe(0);
    await expect.poll(() => admin.zcard(`${index}:owners`)).toBe(0);
  });

  it('follows the owner of the latest commit, also when an earlier one is answered again', async () => {
    const { storage } = fresh();
    const owned = async (owner: string) => (await collect(storage.list({ space: 'contexts', owner }))).length;
    const key = keyOf('c');
    const first = () => storage.commit(key, [{ op: 'owner', owner: undefined }], { commitId: 'first' });
    await first();
    await storage.commit(key, [{ op: 'owner', owner: 'ann' }]);
    await first();
    expect(await owned('ann')).toBe(1);
    await storage.commit(key, [{ op: 'owner', owner: 'bob' }]);
    await first();
    expect([await owned('ann'), await owned('bob')]).toEqual([0, 1]);
  });

  it('has the owner that a record is to have before it is there', async () => {
    const { storage, index } = fresh();
    const options = { condition: { exists: true } };
    expect(await storage.commit(keyOf('a'), [{ op: 'owner', owner: 'ann' }], options)).toMatchObject({
      committed: false,
    });
    await expect.poll(() => admin.zrange(`${index}:owners`, '0', '-1')).toEqual(['ann /:a']);
  });

  it('has an entry fall due soon after its record has expired', async () => {
    const { storage, due } = fresh();
    const { expiresAt = 0 } = (await storage.commit(keyOf('a'), touch, { expiry: { set: 3_600 } })) as Committed;
    const after = async () => Number(await admin.zscore(due, '/:a')) - expiresAt;
    await expect.poll(after).toBeGreaterThan(0);
    expect(await after()).toBeLessThan(600_000);
  });

  it('is not set back by the word of an earlier commit that comes late', async () => {
    const { storage, index } = fresh();
    await make(storage, [keyOf('a')]);
    await expect.poll(async () => Number(await admin.zscore(`${index}:times`, '/:a')) % 1).toBeGreaterThan(0);
    const time = await admin.zscore(`${index}:times`, '/:a');
    const lua = await readFile('src/storage/valkey/lua/index-put.lua', 'utf8');
    const [times, rest] = [`${index}:times`, ['due', 'owners', 'owners-of'].map((name) => `${index}:${name}`)];
    const late = ['/:a', 'Bob', String(Number(time) - 5), '+60000', '0'];
    await admin.eval(lua, 6, `${index}:names`, times, times, ...rest, ...late);
    expect(await admin.zscore(times, '/:a')).toBe(time);
    expect(await collect(storage.list({ space: 'contexts', owner: 'Ann' }))).toHaveLength(1);
    expect(await collect(storage.list({ space: 'contexts', owner: 'Bob' }))).toHaveLength(0);
  });

  it('keeps an entry that was set again to the moment at which it was seen', async () => {
    const { storage, index, due } = fresh();
    await make(storage, [keyOf('a')]);
    await expect.poll(async () => Number(await admin.zscore(due, '/:a'))).toBeGreaterThan(Date.now() + 3_600_000);
    const [put, drop] = await Promise.all(
      ['put', 'drop'].map((name) => readFile(`src/storage/valkey/lua/index-${name}.lua`, 'utf8')),
    );
    const seen = String(await admin.zscore(due, '/:a'));
    const [names, times, owners, ownersOf] = ['names', 'times', 'owners', 'owners-of'].map((set) => `${index}:${set}`);
    const sets = [names, times, times, due, owners, ownersOf] as string[];
    await admin.eval(put as string, 6, ...sets, '/:a', 'Ann', 'announce', seen, '0');
    const gone = [names, times, due, owners, ownersOf, times] as string[];
    expect(await admin.eval(drop as string, 6, ...gone, '4000', '/:a', seen)).toBe(0);
    expect(await collect(storage.list({ space: 'contexts' }))).toHaveLength(1);
  });

  it('keeps the entry of a record that is just being made, whoever finds no record behind it', async () => {
    const { prefix, storage, index, due } = fresh();
    const other = storages.make({ url: server.url, keyPrefix: prefix });
    await make(storage, [keyOf('a')]);
    await expect.poll(async () => Number(await admin.zscore(due, '/:a'))).toBeGreaterThan(Date.now() + 3_600_000);
    // Announced, and not there yet.
    await admin.del(`${index.slice(0, -1)}/:a}`);
    await admin.zadd(due, Date.now() + 1_000, '/:a');
    expect(await collect(other.list({ space: 'contexts' }))).toEqual([]);
    expect(await other.sweep({ space: 'contexts', updatedBefore: Date.now() + 1_000 })).toBe(0);
    expect(await other.delete(keyOf('a'))).toBe(false);
    await other.close();
    expect(await sizes(index)).toEqual([1, 1, 1, 1, 1]);
  });

  it('does not grow with records that have expired', async () => {
    const { storage, index, due } = fresh();
    const keys = Array.from({ length: 40 }, (_, i) => keyOf(`old${i}`, 'tenant'));
    await make(storage, keys);
    await expect.poll(() => admin.zcard(due)).toBe(40);
    // Their time comes: the server has dropped the records, and the entries are due.
    for (const { id } of keys) {
      await admin.del(`${index.slice(0, -1)}/tenant/:${id}}`);
      await admin.zadd(due, 1_000, `/tenant/:${id}`);
    }
    expect(await collect(storage.list({ space: 'contexts' }))).toEqual([]);
    let made = 0;
    const left = async () => {
      await storage.commit(keyOf(`new${made++}`), touch);
      return (await sizes(index)).map((size, i) => (i < 3 ? size - made : size));
    };
    await expect.poll(left, { interval: 5 }).toEqual([0, 0, 0, 0, 0]);
    expect(made).toBeLessThan(20);
    expect(await admin.exists(`${index}:times/tenant`)).toBe(0);
  });

  it('keeps a living record whose entry fell due, with what the record says', async () => {
    const { storage, due } = fresh();
    await make(storage, [keyOf('alive')]);
    await expect.poll(async () => Number(await admin.zscore(due, '/:alive'))).toBeGreaterThan(Date.now() + 60_000);
    await admin.zadd(due, 1_000, '/:alive');
    await storage.commit(keyOf('other'), touch);
    await expect.poll(async () => Number(await admin.zscore(due, '/:alive'))).toBeGreaterThan(Date.now() + 60_000);
    expect(await collect(storage.list({ space: 'contexts', owner: 'Ann' }))).toHaveLength(1);
  });

  it('knows a record before it is there, and again when it is made anew by somebody who thought it was', async () => {
    const { prefix, storage, due } = fresh();
    const other = storages.make({ url: server.url, keyPrefix: prefix });
    await storage.commit(keyOf('a'), touch);
    await other.delete(keyOf('a'));
    await admin.zrem(due, '/:a');
    await admin.del(`${prefix}{contexts}:names`);
    // This storage still believes that the record is there and listed.
    expect(await storage.commit(keyOf('a'), touch)).toMatchObject({ version: 1 });
    expect(await collect(storage.list({ space: 'contexts' }))).toHaveLength(1);
  });

  it('keeps an entry that was announced while its old record was being removed', async () => {
    const { prefix, storage } = fresh();
    const other = storages.make({ url: server.url, keyPrefix: prefix });
    for (let round = 0; round < 30; round++) {
      await Promise.all([storage.delete(keyOf('a')), other.commit(keyOf('a'), touch), storage.delete(keyOf('a'))]);
      const there = (await other.read(keyOf('a'))) !== undefined;
      expect(await collect(storage.list({ space: 'contexts' }))).toHaveLength(there ? 1 : 0);
    }
  });

  it('leaves a record that is held, and one that was written since', async () => {
    const { prefix, storage } = fresh();
    await make(storage, [keyOf('held'), keyOf('free'), keyOf('renewed')]);
    await storage.begin(keyOf('held'), { token: 't', leaseMs: 60_000 });
    const system = (await admin.hget(`${prefix}{contexts/:renewed}`, '')) as string;
    await admin.hset(`${prefix}{contexts/:renewed}`, '', system.replace(/^(\d+) \d+/, `$1 ${Date.now() + 90_000}`));
    expect(await storage.sweep({ space: 'contexts', updatedBefore: Date.now() + 60_000 })).toBe(1);
    expect((await collect(storage.list({ space: 'contexts' }))).map(({ key }) => key.id)).toEqual(['held', 'renewed']);
    await storage.commit(keyOf('held'), [], { lease: { token: 't' } });
    expect(await storage.sweep({ space: 'contexts', updatedBefore: Date.now() + 60_000 })).toBe(1);
  });
});

describe('what a record costs', () => {
  it('ends with it, also a log and replies that were begun later than its time to live', async () => {
    const { index, storage } = fresh();
    const key = keyOf('a');
    const record = `${index.slice(0, -1)}/:a}`;
    const ends = () => Promise.all(['', ':log', ':replies'].map((part) => admin.pexpiretime(record + part)));
    const expire = async (expiry: Expiry) => (await storage.commit(key, [], { expiry })) as Committed;
    await expire({ set: 100 });
    await storage.commit(key, [{ op: 'log', entry: '1' }]);
    await storage.commit(key, touch, { idempotency: { key: 'k', reply: '1', keep: 5 } });
    const { expiresAt } = (await storage.read(key)) ?? {};
    expect(expiresAt).toBeGreaterThan(Date.now());
    expect(await ends()).toEqual(Array(3).fill(expiresAt));
    const longer = await expire({ set: 1_000 });
    expect(await ends()).toEqual(Array(3).fill(longer.expiresAt));
    await expire({ set: 'none' });
    expect(await ends()).toEqual([-1, -1, -1]);
    const shorter = await expire({ set: 50 });
    expect(await ends()).toEqual(Array(3).fill(shorter.expiresAt));
    const expires = Date.now() + 9_000;
    const carried = { createdAt: 1, updatedAt: 1, ownTtl: undefined, replies: new Map([['k', '1']]) };
    const changes = [{ op: 'clearLog' }, { op: 'clearFields' }, { op: 'log', entry: '1' }] as const;
    for (const expiresAt of [expires, expires + 1_000]) {
      await storage.commit(key, changes, { carried: { ...carried, expiresAt } });
      expect(await ends()).toEqual(Array(3).fill(expiresAt));
      await storage.delete(key);
    }
  });

  it('goes with it, also what the server has evicted later than the record', async () => {
    const { index, storage } = fresh();
    await storage.commit(keyOf('a'), touch, { idempotency: { key: 'k', reply: '1', keep: 5 } });
    await admin.del(`${index.slice(0, -1)}/:a}`);
    await storage.commit(keyOf('a'), touch);
    expect((await storage.read(keyOf('a'), { idempotencyKey: 'k' }))?.reply).toBeUndefined();
  });

  it('is three keys while it is used, in one slot, and none when it has expired', async () => {
    const { prefix, storage } = fresh();
    const key = keyOf('Ünï/..*[\0{}', 'a:b', '{x}');
    await storage.begin(key, { token: 't', leaseMs: 300 });
    const changes = [{ op: 'log', entry: '1' }] as const;
    await storage.commit(key, changes, { lease: { token: 't', keepMs: 300 }, expiry: { set: 1 } });
    const keys = (await admin.keys(`${prefix}*`)).filter((name) => name.includes('/:'));
    expect(keys.map((name) => name.slice(name.indexOf('}') + 1)).sort()).toEqual(['', ':lease', ':log']);
    expect(new Set(keys.map((name) => /\{[^{}]*\}/.exec(name)?.[0])).size).toBe(1);
    await expect
      .poll(async () => (await admin.keys(`${prefix}*`)).filter((name) => name.includes('/:')), { timeout: 3_000 })
      .toEqual([]);
    expect(await storage.read(key)).toBeUndefined();
  });
});
