import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'iovalkey';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CommitOptions } from '../../../src/storage/state-storage.js';
import { type LossyProxy, startLossyProxy } from './lossy-proxy.js';
import { failure, freshPrefix, keyOf, Storages, startValkey, type ValkeyServer } from './support.js';

let server: ValkeyServer;
let proxy: LossyProxy;
const storages = new Storages();
beforeAll(async () => {
  server = await startValkey();
  proxy = await startLossyProxy(server.port);
});
afterAll(async () => {
  await storages.close();
  await proxy.stop();
  await server.stop();
});

/** One storage behind the proxy, whose answers get lost, and one that sees what is really there. */
async function pair() {
  const keyPrefix = freshPrefix();
  const lossy = storages.make({ url: proxy.url, keyPrefix, timeoutMs: 1_000 });
  const sound = storages.make({ url: server.url, keyPrefix });
  await lossy.ping();
  return { lossy, sound, keyPrefix };
}

const changes = [
  { op: 'increment', field: 'n', by: 1 },
  { op: 'log', entry: '"once"' },
] as const;

describe('a commit whose answer was lost', () => {
  const cases: [string, (token: string) => CommitOptions][] = [
    ['without a lease', () => ({ commitId: 'Ä 1' })],
    ['releasing its lease', (token) => ({ commitId: 'Ä 1', lease: { token } })],
    ['keeping its lease', (token) => ({ commitId: 'Ä 1', lease: { token, keepMs: 5_000 } })],
  ];
  it.each(cases)('%s is sent again, applied once, and answered as the first time', async (_, optionsOf) => {
    const { lossy, sound } = await pair();
    const key = keyOf('c1');
    await lossy.commit(key, [{ op: 'touch' }]);
    await lossy.begin(key, { token: 'T ü', leaseMs: 5_000 });
    const before = proxy.connections;
    proxy.lose(1);
    const answer = await lossy.commit(key, changes, optionsOf('T ü'));
    expect(proxy.connections).toBe(before + 1);
    expect(answer).toMatchObject({ committed: true, version: 2, logTotal: 1, incremented: new Map([['n', 1]]) });
    const record = await sound.read(key, { log: 9 });
    expect(record).toMatchObject({ version: 2, log: ['"once"'] });
    expect(record?.fields.get('n')).toBe('1');
  });

  it('by its id is answered from anywhere, also after others have committed', async () => {
    const { lossy, sound } = await pair();
    const key = keyOf('c2');
    await lossy.begin(key, { token: 'mine', leaseMs: 5_000 });
    const first = await lossy.commit(key, changes, { lease: { token: 'mine' }, commitId: 'one' });
    for (const token of ['a', 'b', 'c']) {
      await sound.begin(key, { token, leaseMs: 5_000 });
      await sound.commit(key, changes, { lease: { token }, commitId: `another process, ${token}` });
    }
    expect(await sound.commit(key, changes, { lease: { token: 'mine' }, commitId: 'one' })).toEqual(first);
    expect((await sound.read(key))?.fields.get('n')).toBe('4');
  });

  it('after those of very many is answered as the first time, or not at all, and costs the record little', async () => {
    const keyPrefix = freshPrefix();
    const storage = storages.make({ url: server.url, keyPrefix });
    const admin = new Redis(server.url);
    const key = keyOf('c5');
    const record = `${keyPrefix}{contexts/:c5}`;
    const turns = Array.from({ length: 12 }, (_, n) => ({ token: `t${n}`, commitId: `${n}`.padStart(8, '0') }));
    const commit = ({ token, commitId }: (typeof turns)[0]) =>
      storage.commit(key, changes, { lease: { token }, commitId });
    const first: unknown[] = [];
    for (const turn of turns) {
      await storage.begin(key, { token: turn.token, leaseMs: 5_000 });
      first.push(await commit(turn));
    }
    const again = await Promise.all(turns.map((turn) => commit(turn).catch((error) => error.code)));
    for (const [n, answer] of again.entries()) {
      if (n > 8 || answer !== 'LEASE_LOST') expect(answer).toEqual(first[n]);
    }
    expect((await storage.read(key))?.fields.get('n')).toBe('12');
    expect(await admin.hstrlen(record, '')).toBeLessThan(600);
    const remembered = async () => String(await admin.hget(record, '')).split(';').length - 1;
    // A process that begins a turn knows what became of its last one.
    await storage.begin(key, { token: 'same', leaseMs: 5_000 });
    await commit({ token: 'same', commitId: '00000011 once more' });
    expect(String(await admin.hget(record, ''))).not.toContain(';00000011');
    // Those that nobody can ask for any more go with the next turn.
    const system = String(await admin.hget(record, ''));
    const time = String(Date.now() - 11_000);
    await admin.hset(record, '', system.replace(/;(\S+ \d+) \d+/, `;$1 ${time}`));
    await storage.begin(key, { token: 'last', leaseMs: 5_000 });
    await commit({ token: 'last', commitId: 'another process' });
    expect(await remembered()).toBe(1);
    admin.disconnect();
  });

  it('without an id is not sent again: the caller learns that it is unknown', async () => {
    const { lossy, sound } = await pair();
    const key = keyOf('c3');
    await lossy.commit(key, [{ op: 'touch' }]);
    await lossy.read(key);
    proxy.lose(1);
    expect((await failure(lossy.commit(key, changes))).code).toBe('STORAGE_UNAVAILABLE');
    expect((await sound.read(key))?.fields.get('n')).toBe('1');
    await lossy.commit(key, changes);
    expect((await sound.read(key))?.fields.get('n')).toBe('2');
  });

  it('over and over fails within its time, and was applied once', async () => {
    const { lossy, sound } = await pair();
    const key = keyOf('c4');
    await lossy.begin(key, { token: 't', leaseMs: 5_000 });
    proxy.lose(1_000);
    const failed = await failure(lossy.commit(key, changes, { lease: { token: 't' }, commitId: 'x' }));
    proxy.lose(0);
    expect(failed.code).toBe('STORAGE_UNAVAILABLE');
    expect(failed.ms).toBeLessThan(1_500);
    expect(await lossy.commit(key, changes, { lease: { token: 't' }, commitId: 'x' })).toMatchObject({ version: 1 });
    expect((await sound.read(key))?.fields.get('n')).toBe('1');
  });
});

describe('a lease', () => {
  it('whose grant was lost is asked for again with the same token', async () => {
    const { lossy, sound } = await pair();
    const key = keyOf('l1');
    proxy.lose(1);
    expect(await lossy.begin(key, { token: 't', leaseMs: 5_000 })).toEqual({ busy: false, record: undefined });
    expect(await sound.begin(key, { token: 'other', leaseMs: 5_000 })).toMatchObject({ busy: true });
  });

  // The place lasts for 200 ms, and a busy machine may take as long between two lines.
  it('ends before the place of who waits for it, who keeps it by asking again', { retry: 3 }, async () => {
    const keyPrefix = freshPrefix();
    const storage = storages.make({ url: server.url, keyPrefix });
    const admin = new Redis(server.url);
    const key = keyOf('l4');
    const asked = () => storage.begin(key, { token: 'b', leaseMs: 60_000 });
    const place = async () => {
      const lease = `${keyPrefix}{contexts/:l4}:lease`;
      const [ends, text] = await Promise.all([admin.pexpiretime(lease), admin.get(lease)]);
      const [, , next, waits] = String(text).split(' ');
      expect(next).toBe('b');
      expect(ends).toBeGreaterThanOrEqual(Number(waits));
      return Number(waits);
    };
    try {
      await storage.begin(key, { token: 'a', leaseMs: 100 });
      await asked();
      const first = await place();
      await storage.commit(key, [], { lease: { token: 'a', keepMs: 100 } });
      expect(await place()).toBe(first);
      await delay(2);
      await asked();
      expect(await place()).toBeGreaterThan(first);
    } finally {
      admin.disconnect();
    }
  });

  it('that nobody knows of is given back when the server answers again', async () => {
    const { lossy, sound } = await pair();
    const key = keyOf('l2');
    proxy.lose(1_000);
    expect((await failure(lossy.begin(key, { token: 't', leaseMs: 60_000 }))).code).toBe('STORAGE_UNAVAILABLE');
    proxy.lose(0);
    expect(await sound.begin(key, { token: 'other', leaseMs: 60_000 })).toMatchObject({ busy: true });
    await lossy.commit(keyOf('elsewhere'), [{ op: 'touch' }]);
    await expect
      .poll(() => sound.begin(key, { token: 'other', leaseMs: 60_000 }))
      .toEqual({ busy: false, record: undefined });
  });

  it('released with a lost answer is released', async () => {
    const { lossy, sound } = await pair();
    const key = keyOf('l3');
    await lossy.begin(key, { token: 't', leaseMs: 60_000 });
    proxy.lose(1);
    await lossy.commit(key, [], { lease: { token: 't' } });
    expect(await sound.begin(key, { token: 'other', leaseMs: 60_000 })).toMatchObject({ busy: false });
  });

  it.each([
    ['once', 1, 'RECORD_CORRUPT'],
    ['for good', 1_000, 'STORAGE_UNAVAILABLE'],
  ])('whose grant was lost %s is given back, also of a record that is damaged', async (_, count, code) => {
    const { lossy, sound, keyPrefix } = await pair();
    const key = keyOf('l4');
    const admin = new Redis(server.url);
    await admin.hset(`${keyPrefix}{contexts/:l4}`, '', 'precious');
    proxy.lose(count);
    expect((await failure(lossy.begin(key, { token: 't', leaseMs: 60_000 }))).code).toBe(code);
    proxy.lose(0);
    await lossy.begin(keyOf('elsewhere'), { token: 'u', leaseMs: 1 });
    await expect
      .poll(async () => (await failure(sound.begin(key, { token: 'other', leaseMs: 60_000 }))).code)
      .toBe('RECORD_CORRUPT');
    admin.disconnect();
  });
});

describe('a client that is not ours', () => {
  it('and sends lost commands again by itself does not apply a commit twice', async () => {
    const client = new Redis(proxy.url, { lazyConnect: true });
    const storage = storages.make({ client });
    const key = keyOf('f1');
    await storage.commit(key, [{ op: 'touch' }]);
    await storage.read(key);
    proxy.lose(1);
    expect(await storage.commit(key, changes)).toMatchObject({ version: 2 });
    expect((await storage.read(key))?.fields.get('n')).toBe('1');
    await storage.close();
    expect(await client.ping()).toBe('PONG');
    client.disconnect();
  });

  it('and has a transaction open does not answer before that is over', async () => {
    const client = new Redis(server.url);
    const storage = storages.make({ client });
    const key = keyOf('f2');
    await storage.ping();
    await client.multi({ pipeline: false });
    const begun = storage.begin(key, { token: 't', leaseMs: 5_000 });
    const committed = storage.commit(key, changes);
    const [answer] = await Promise.all([Promise.race([committed, delay(40)]), client.get('x')]);
    expect(answer).toBeUndefined();
    await client.exec();
    expect(await begun).toEqual({ busy: false, record: expect.objectContaining({ version: 1 }) });
    expect(await committed).toMatchObject({ committed: true, version: 1 });
    expect((await storage.read(key))?.fields.get('n')).toBe('1');
    client.disconnect();
  });

  it('and was closed by its owner is an error at once', async () => {
    const client = new Redis(server.url);
    const storage = storages.make({ client });
    await storage.ping();
    client.disconnect();
    const failed = await failure(storage.ping());
    expect(failed.code).toBe('STORAGE_UNAVAILABLE');
    expect(failed.ms).toBeLessThan(500);
  });
});
