import { Cluster } from 'iovalkey';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ValkeyStorage } from '../../../src/storage/valkey/valkey-storage.js';
import { storageConformance } from '../../../src/testing/index.js';
import { startValkeyCluster, type ValkeyCluster } from '../../support/valkey-cluster.js';
import { collect, failure, freshPrefix, keyOf } from './support.js';

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
});
