import { Redis } from 'iovalkey';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { CommitOptions } from '../../../src/storage/state-storage.js';
import { type LossyProxy, startLossyProxy } from './lossy-proxy.js';
import { failure, freshPrefix, keyOf, Storages, startValkey, type ValkeyServer } from './support.js';

const durability = { replicas: 1 };
const changes = [
  { op: 'increment', field: 'n', by: 1 },
  { op: 'log', entry: '"once"' },
] as const;
/** Time enough for what has no reason to wait, on a machine that has other work. */
const TIMEOUT_MS = 800;
const UNCONFIRMED = /^the commit was written to .* but not confirmed by 1 replica within 800 ms/;

let primary: ValkeyServer;
let replica: ValkeyServer;
let proxy: LossyProxy;
let admin: Redis;
const storages = new Storages();

beforeAll(async () => {
  primary = await startValkey(['--repl-diskless-sync-delay', '0']);
  admin = new Redis(primary.url);
  proxy = await startLossyProxy(primary.port);
  await follow();
});
afterEach(() => {
  // Whatever a test has done to it, and however it ended.
  process.kill(replica.pid, 'SIGCONT');
});
afterAll(async () => {
  await storages.close();
  admin.disconnect();
  await proxy.stop();
  await Promise.all([replica.stop(), primary.stop()]);
});

async function follow(): Promise<void> {
  replica = await startValkey(['--replicaof', `127.0.0.1 ${primary.port}`]);
  await vi.waitUntil(async () => (await admin.info('replication')).includes('state=online'), { timeout: 20_000 });
  // It is called online before it has asked for the stream of writes, which it does once a second.
  await admin.set('followed', '1');
  expect(await admin.wait(1, 20_000)).toBe(1);
}

/** One storage that waits for the replica, and one that does not. */
function pair({ url = primary.url, timeoutMs = TIMEOUT_MS } = {}) {
  const keyPrefix = freshPrefix();
  const open = () => storages.make({ url, keyPrefix, timeoutMs, durability });
  return { safe: open(), open, plain: storages.make({ url: primary.url, keyPrefix }) };
}

async function waits(): Promise<number> {
  return Number(/cmdstat_wait:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1] ?? 0);
}

describe('with durability: { replicas: 1 }', () => {
  it('a commit is on the replica when it returns', async () => {
    const { safe } = pair({ timeoutMs: 5_000 });
    const reader = new Redis(replica.url);
    for (let n = 1; n <= 20; n++) {
      await safe.commit(keyOf('c1'), changes);
      const [name = ''] = await reader.keys('*{contexts/:c1}');
      expect(await reader.hget(name, 'n')).toBe(String(n));
    }
    reader.disconnect();
  });

  const cases: [string, (token: string) => CommitOptions][] = [
    ['without a lease', () => ({ commitId: 'once' })],
    ['releasing its lease', (token) => ({ commitId: 'once', lease: { token } })],
    ['keeping its lease', (token) => ({ commitId: 'once', lease: { token, keepMs: 60_000 } })],
  ];
  it.each(cases)('%s a commit is unconfirmed while the replica is away, however often it is sent', async (_, of) => {
    const { safe, open, plain } = pair();
    const key = keyOf('c2');
    await plain.commit(key, [{ op: 'touch' }]);
    await safe.begin(key, { token: 't', leaseMs: 60_000 });
    process.kill(replica.pid, 'SIGSTOP');
    // Neither the server's memory of the commit nor another connection makes it any safer.
    for (const storage of [safe, open()]) {
      const failed = await failure(storage.commit(key, changes, of('t')));
      expect(failed.code).toBe('STORAGE_UNAVAILABLE');
      expect(failed.error.message).toMatch(UNCONFIRMED);
      expect(failed.ms).toBeLessThan(2 * TIMEOUT_MS);
    }
    expect(await plain.read(key, { log: 9 })).toMatchObject({ version: 2, log: ['"once"'] });
    process.kill(replica.pid, 'SIGCONT');
    expect(await safe.commit(key, changes, of('t'))).toMatchObject({ version: 2, incremented: new Map([['n', 1]]) });
    expect(await plain.read(key, { log: 9 })).toMatchObject({ version: 2, log: ['"once"'] });
  });

  it.each(cases)('%s a commit whose answer was lost is not confirmed by sending it again', async (_, of) => {
    const { safe, plain } = pair({ url: proxy.url });
    const key = keyOf('c3');
    await plain.commit(key, [{ op: 'touch' }]);
    await safe.begin(key, { token: 't', leaseMs: 60_000 });
    process.kill(replica.pid, 'SIGSTOP');
    proxy.lose(1);
    const failed = await failure(safe.commit(key, changes, of('t')));
    expect(failed.error.message).toMatch(UNCONFIRMED);
    expect(await plain.read(key)).toMatchObject({ version: 2 });
  });

  it('reads and turns of others go on while a commit waits in vain', async () => {
    const { safe, plain } = pair({ timeoutMs: 2_000 });
    process.kill(replica.pid, 'SIGSTOP');
    const waiting = failure(safe.commit(keyOf('c4'), changes, { commitId: 'x' }));
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      expect(await safe.begin(keyOf(`other ${i}`), { token: 't', leaseMs: 1_000 })).toMatchObject({ busy: false });
      expect(performance.now() - start).toBeLessThan(1_000);
    }
    expect((await waiting).error.message).toMatch(/not confirmed by 1 replica within 2000 ms/);
    expect(await plain.read(keyOf('c4'))).toMatchObject({ version: 1 });
  });

  it('a commit that is refused, or writes nothing, waits for nobody', async () => {
    const { safe } = pair();
    const key = keyOf('c5');
    await safe.commit(key, changes, { commitId: 'x' });
    await safe.begin(key, { token: 't', leaseMs: 60_000 });
    process.kill(replica.pid, 'SIGSTOP');
    expect(await safe.commit(key, changes, { condition: { exists: false } })).toMatchObject({ committed: false });
    expect(await safe.commit(key, [], { lease: { token: 't', keepMs: 60_000 } })).toMatchObject({ committed: true });
    expect(await safe.commit(key, [], { lease: { token: 't' } })).toMatchObject({ committed: true });
  });

  it('commits of one moment share a WAIT, and without the option there is none', async () => {
    const { safe, plain } = pair({ timeoutMs: 5_000 });
    await safe.commit(keyOf('c6'), changes);
    let before = await waits();
    await Promise.all(Array.from({ length: 100 }, (_, i) => safe.commit(keyOf(`m${i}`), changes)));
    expect((await waits()) - before).toBeLessThan(10);
    before = await waits();
    await Promise.all(Array.from({ length: 100 }, (_, i) => plain.commit(keyOf(`m${i}`), changes)));
    expect(await waits()).toBe(before);
  });

  it('works with a client of somebody else', async () => {
    const client = new Redis(primary.url);
    const storage = storages.make({ client, timeoutMs: TIMEOUT_MS, durability });
    expect(await storage.commit(keyOf('c7'), changes)).toMatchObject({ version: 1 });
    process.kill(replica.pid, 'SIGSTOP');
    expect((await failure(storage.commit(keyOf('c7'), changes))).error.message).toMatch(UNCONFIRMED);
    await storage.close();
    client.disconnect();
  });

  it('a primary that is made a replica while a commit waits confirms nothing', async () => {
    const { safe } = pair({ timeoutMs: 2_000 });
    await safe.commit(keyOf('c8'), changes);
    process.kill(replica.pid, 'SIGSTOP');
    const waiting = failure(safe.commit(keyOf('c8'), changes, { commitId: 'x' }));
    const before = await waits();
    await expect.poll(waits).toBeGreaterThan(before);
    await admin.call('REPLICAOF', '127.0.0.1', replica.port);
    const failed = await waiting;
    expect(failed.code).toBe('STORAGE_UNAVAILABLE');
    expect(failed.error.message).toMatch(/not confirmed by 1 replica/);
    await admin.call('REPLICAOF', 'NO', 'ONE');
  });

  it('the death of the replica is an error within the time, and is made good by another', async () => {
    const { safe, plain } = pair();
    await safe.commit(keyOf('c9'), changes);
    await replica.kill9();
    const failed = await failure(safe.commit(keyOf('c9'), changes, { commitId: 'x' }));
    expect(failed.error.message).toMatch(UNCONFIRMED);
    expect(failed.ms).toBeLessThan(2 * TIMEOUT_MS);
    expect(await plain.read(keyOf('c9'))).toMatchObject({ version: 2 });
    await follow();
    expect(await safe.commit(keyOf('c9'), changes, { commitId: 'x' })).toMatchObject({ version: 2 });
  });

  it.each([0, -1, 1.5, Number.NaN])('replicas: %s is refused', (replicas) => {
    expect(() => storages.make({ url: primary.url, durability: { replicas } })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });
});
