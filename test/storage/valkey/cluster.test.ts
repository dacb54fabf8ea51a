import { join } from 'node:path';
import { Cluster } from 'iovalkey';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { probeStorage } from '../../../src/cli/probe-storage.js';
import { parseConfig } from '../../../src/config/index.js';
import type { Change } from '../../../src/storage/state-storage.js';
import { ValkeyStorage } from '../../../src/storage/valkey/valkey-storage.js';
import { storageConformance } from '../../../src/testing/index.js';
import { startValkeyCluster, type ValkeyCluster } from '../../support/valkey-cluster.js';
import { runWorker } from '../../support/workers.js';
import { collect, failure, freshPrefix, keyOf, printed, valkeyUrl } from './support.js';

let valkey: ValkeyCluster;
let client: Cluster;
beforeAll(async () => {
  valkey = await startValkeyCluster();
  client = new Cluster([{ host: '127.0.0.1', port: valkey.members[0]?.server.port as number }], { lazyConnect: true });
});
afterAll(async () => {
  client.disconnect();
  await valkey.stop();
});

for (const [name, open] of [
  ['by its url', (keyPrefix: string) => new ValkeyStorage({ url: valkey.url, cluster: true, keyPrefix })],
  ['by a Cluster of its own', (keyPrefix: string) => new ValkeyStorage({ client, keyPrefix })],
] as const) {
  const keyPrefix = freshPrefix();
  const runner = { describe, it, afterAll };
  const reopen = async () => open(keyPrefix);
  storageConformance({ name: `ValkeyStorage on a cluster, ${name}`, open: reopen, reopen }, runner);
}

describe('on a cluster', () => {
  let storage: ValkeyStorage;
  beforeAll(() => {
    storage = new ValkeyStorage({ url: valkey.url, cluster: true, keyPrefix: freshPrefix() });
  });
  afterAll(() => storage.close());
  const ids = Array.from({ length: 60 }, (_, i) => `Conv ${i}`);

  it('turns run, each in the slot of its conversation', async () => {
    await Promise.all(
      ids.map(async (id) => {
        const key = keyOf(id, 'tenant');
        for (let turn = 1; turn <= 3; turn++) {
          const token = `${id}-${turn}`;
          const begun = await storage.begin(key, { token, leaseMs: 5_000, log: 2 });
          expect(begun).toMatchObject({ busy: false });
          const answer = await storage.commit(
            key,
            [
              { op: 'increment', field: 'n', by: 1 },
              { op: 'log', entry: String(turn) },
              { op: 'owner', owner: 'Ann' },
            ],
            { lease: { token }, commitId: token, expiry: { set: 60 }, logMax: 2 },
          );
          expect(answer).toMatchObject({ version: turn, logTotal: turn });
        }
        expect(await storage.readLog(key)).toMatchObject({ entries: ['2', '3'], dropped: 1 });
      }),
    );
  });

  it('the same commit by its id is applied once, with and without a lease', async () => {
    const key = keyOf('twice');
    const changes = [{ op: 'increment', field: 'n', by: 1 }] as const;
    await storage.begin(key, { token: 't', leaseMs: 5_000 });
    const kept = { lease: { token: 't', keepMs: 5_000 }, commitId: 'a' };
    expect(await storage.commit(key, changes, kept)).toEqual(await storage.commit(key, changes, kept));
    const free = { commitId: 'b' };
    expect(await storage.commit(key, changes, free)).toEqual(await storage.commit(key, changes, free));
    expect(await storage.delete(key)).toBe(true);
  });

  it('listing, sweeping and deleting find what lies on all nodes', async () => {
    const all = { space: 'contexts' };
    expect((await collect(storage.list(all))).map(({ key }) => key.id)).toEqual(ids.toSorted());
    expect(await collect(storage.list({ ...all, owner: 'Ann', scope: ['tenant'], prefix: 'Conv 1' }))).toHaveLength(11);
    expect(await storage.delete(keyOf('Conv 0', 'tenant'))).toBe(true);
    expect(await storage.sweep({ ...all, updatedBefore: Date.now() + 60_000 })).toBe(59);
    expect(await collect(storage.list(all))).toEqual([]);
  });

  it('one of its nodes by a url says that it is one', async () => {
    const single = new ValkeyStorage({ url: valkey.url, keyPrefix: freshPrefix() });
    const tries = ids.map((id) => failure(single.read(keyOf(id))).catch(() => undefined));
    const failed = (await Promise.all(tries)).find((outcome) => outcome);
    expect(failed?.code).toBe('STORAGE_FAILED');
    expect(failed?.error.details.fix).toContain('cluster: true');
    await single.close();
  });

  it('what is cut everywhere at once is connected to again', async () => {
    const touch = [{ op: 'touch' }] as const;
    for (let round = 0; round < 3; round++) {
      const calls = ids.map((id) => storage.commit(keyOf(`cut ${id}`), touch, { commitId: `${round}` }));
      for (const { admin } of valkey.members) await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      for (const answer of await Promise.all(calls)) expect(answer).toMatchObject({ version: round + 1 });
    }
  });

  it('a slot may be moved to another node under a running turn', async () => {
    const key = keyOf('moving');
    await storage.commit(key, [{ op: 'set', field: 'v', value: '1' }], { expiry: { set: 600 } });
    const [name = ''] = (
      await Promise.all(valkey.members.map(({ admin }) => admin.keys('*{contexts/:moving}')))
    ).flat();
    const from = (await valkey.shardOf(name)).primary;
    const slot = Number(await from.admin.call('CLUSTER', 'KEYSLOT', name));
    const to = (await Promise.all(ids.map((id) => valkey.shardOf(`{${id}}`)))).find(
      ({ primary }) => primary !== from,
    )?.primary;
    if (!to) throw new Error('all on one node');
    await storage.begin(key, { token: 't', leaseMs: 60_000 });
    await to.admin.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id);
    await from.admin.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id);
    const commit = storage.commit(key, [{ op: 'set', field: 'v', value: '2' }], { lease: { token: 't' } });
    const keys = (await from.admin.call('CLUSTER', 'GETKEYSINSLOT', slot, 1000)) as string[];
    await from.admin.call('MIGRATE', '127.0.0.1', to.server.port, '', 0, 5_000, 'KEYS', ...keys);
    const read = storage.read(key);
    for (const { admin } of [to, from]) await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id);
    expect(await commit).toMatchObject({ version: 2 });
    expect((await read)?.version).toBeGreaterThan(0);
    expect((await storage.read(key))?.fields.get('v')).toBe('2');
  });

  it('a lease that is gone before its time is taken up again, where nobody came in between', async () => {
    const write = [{ op: 'increment', field: 'n', by: 1 }] as const;
    const begin = (id: string, token = id) => storage.begin(keyOf(id), { token, leaseMs: 60_000 });
    const renew = (id: string, changes: readonly Change[] = []) =>
      storage.commit(keyOf(id), changes, { lease: { token: id, keepMs: 60_000 } });
    const end = (id: string, changes: readonly Change[] = []) =>
      storage.commit(keyOf(id), changes, { lease: { token: id } });
    const lose = async (id: string) => {
      const { admin } = (await valkey.shardOf(`{contexts/:${id}}`)).primary;
      expect(await admin.del(await admin.keys(`*{contexts/:${id}}:lease`))).toBe(1);
    };
    const isLost = async (answer: Promise<unknown>) =>
      expect(await failure(answer)).toMatchObject({ code: 'LEASE_LOST' });

    await begin('untouched');
    await lose('untouched');
    expect(await renew('untouched', write)).toMatchObject({ version: 1 });
    await lose('untouched');
    expect(await renew('untouched')).toMatchObject({ version: 1 });
    expect(await begin('untouched', 'other')).toMatchObject({ busy: true });
    await lose('untouched');
    expect(await end('untouched', write)).toMatchObject({ version: 2 });

    await begin('changed');
    await storage.commit(keyOf('changed'), write);
    await renew('changed');
    await lose('changed');
    await isLost(end('changed', write));
    expect(await begin('changed', 'other')).toMatchObject({ busy: false });

    await begin('taken');
    await lose('taken');
    await begin('taken', 'other');
    await isLost(end('taken', write));
    expect(await begin('taken', 'third')).toMatchObject({ busy: true });

    await begin('over');
    await end('over');
    await isLost(end('over', write));
  });

  it('a password in the url is that of every node', async () => {
    for (const { admin } of valkey.members) await admin.config('SET', 'requirepass', 's3cret');
    try {
      const open = (userinfo: string) =>
        new ValkeyStorage({ url: valkey.url.replace('//', `//${userinfo}`), cluster: true, keyPrefix: freshPrefix() });
      const knows = open(':s3cret@');
      await Promise.all(ids.map((id) => knows.commit(keyOf(id), [{ op: 'touch' }])));
      await knows.close();
      for (const userinfo of ['', ':wr0ng@']) {
        const guesses = open(userinfo);
        const { code, error, ms } = await failure(guesses.commit(keyOf('c'), [{ op: 'touch' }]));
        expect(code).toBe('STORAGE_FAILED');
        expect(ms).toBeLessThan(2_000);
        expect(printed(error)).not.toContain('wr0ng');
        await guesses.close();
      }
    } finally {
      for (const { admin } of valkey.members) await admin.config('SET', 'requirepass', '');
    }
  });
});

describe('a cluster', () => {
  it('may be found through any of several nodes', async () => {
    const url = valkey.url.replace('//', '//127.0.0.1:1,');
    const storage = new ValkeyStorage({ url, cluster: true, keyPrefix: freshPrefix() });
    expect(await storage.commit(keyOf('c'), [{ op: 'touch' }])).toMatchObject({ version: 1 });
    await storage.close();
  });

  it('is told from a server that is none, and from one that is not there', async () => {
    const single = new ValkeyStorage({ url: valkeyUrl(), cluster: true, keyPrefix: freshPrefix() });
    const failed = await failure(single.ping());
    expect(failed).toMatchObject({ code: 'STORAGE_FAILED' });
    expect(failed.error.details.fix).toContain('leave out `cluster`');
    await single.close();
    const nowhere = new ValkeyStorage({ url: 'valkey://127.0.0.1:1', cluster: true, keyPrefix: freshPrefix() });
    const refused = await failure(nowhere.ping());
    expect(refused.code).toBe('STORAGE_UNAVAILABLE');
    expect(refused.error.message).toContain('ECONNREFUSED');
    expect(refused.ms).toBeLessThan(500);
    await nowhere.close();
  });

  it('has no other database than 0, and a client is no url', () => {
    const keyPrefix = freshPrefix();
    for (const options of [
      { url: 'valkey://h/1', cluster: true },
      { client, cluster: true },
    ]) {
      expect(() => new ValkeyStorage({ ...options, keyPrefix })).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      );
    }
  });

  it('is reached from agent_config.yaml, also by doctor and validate-config', async () => {
    const { state } = parseConfig({
      state: {
        backend: 'valkey',
        url: valkey.url,
        cluster: true,
        key_prefix: freshPrefix(),
        durability: { replicas: 1 },
      },
    });
    expect(await probeStorage(state, '/')).toMatchObject({ backend: 'valkey' });
  });

  it('does not keep a process that has nothing to do', async () => {
    const options = { backend: 'valkey', url: valkey.url, cluster: true, keyPrefix: freshPrefix() };
    expect(await runWorker(join(import.meta.dirname, 'idle.worker.ts'), options)).toEqual(['done']);
  });
});
