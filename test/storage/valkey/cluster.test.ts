import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, Redis } from 'iovalkey';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ValkeyStorage } from '../../../src/storage/valkey/valkey-storage.js';
import { collect, failure, freshPrefix, keyOf, startValkey, type ValkeyServer } from './support.js';

const SLOTS = 16_384;
let servers: ValkeyServer[];
let cluster: Cluster;
let storage: ValkeyStorage;

/** Three primaries that have found each other. */
beforeAll(async () => {
  servers = await Promise.all(
    Array.from({ length: 3 }, () => startValkey(['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000'])),
  );
  const nodes = servers.map(({ port }) => new Redis(port, '127.0.0.1'));
  const ports = servers.map(({ port }) => port);
  for (const [i, node] of nodes.entries()) {
    await node.call('CLUSTER', 'ADDSLOTSRANGE', Math.floor((i * SLOTS) / 3), Math.floor(((i + 1) * SLOTS) / 3) - 1);
    if (i > 0) await node.call('CLUSTER', 'MEET', '127.0.0.1', ports[0] as number);
  }
  for (const node of nodes) {
    while (!String(await node.call('CLUSTER', 'INFO')).includes('cluster_state:ok')) await delay(20);
    while (!/cluster_known_nodes:3/.test(String(await node.call('CLUSTER', 'INFO')))) await delay(20);
  }
  for (const node of nodes) node.disconnect();
  cluster = new Cluster(
    ports.map((port) => ({ host: '127.0.0.1', port })),
    { lazyConnect: true },
  );
  storage = new ValkeyStorage({ client: cluster, keyPrefix: freshPrefix() });
});
afterAll(async () => {
  await storage.close();
  cluster.disconnect();
  await Promise.all(servers.map((server) => server.stop()));
});

describe('on a cluster', () => {
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
    const single = new ValkeyStorage({ url: servers[0]?.url as string, keyPrefix: freshPrefix() });
    const tries = ids.map((id) => failure(single.read(keyOf(id))).catch(() => undefined));
    const failed = (await Promise.all(tries)).find((outcome) => outcome);
    expect(failed?.code).toBe('STORAGE_FAILED');
    expect(failed?.error.details.fix).toContain('Cluster');
    await single.close();
  });
});
