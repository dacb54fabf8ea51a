import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'iovalkey';
import { startValkey, type ValkeyServer } from './valkey-server.js';

const SLOTS = 16_384;
/** Far more than the nodes need to find each other, also on a machine that has other work. */
const PATIENCE_MS = 60_000;

/** One node of a cluster. */
export interface ClusterMember {
  /** The process that runs it now. */
  server: ValkeyServer;
  /** For looking at the node itself, past the cluster. Connects again by itself. */
  readonly admin: Redis;
  readonly id: string;
}

/** One primary with its replicas. */
export interface Shard {
  readonly primary: ClusterMember;
  readonly replicas: readonly ClusterMember[];
}

/** A real Valkey Cluster of our own on loopback. It ends with the process that started it. */
export interface ValkeyCluster {
  /** The first node, as the seed of a client. */
  readonly url: string;
  readonly members: readonly ClusterMember[];
  /** Who serves a key, as a node that is alive sees it now. */
  shardOf(key: string): Promise<Shard>;
  /** Hands the slots of a shard to its replica, as an operator would. Resolves when all nodes know. */
  failOver(shard: Shard): Promise<void>;
  /** Resolves when the replica serves the slots of a primary that has died, and all nodes know. */
  promoted(replica: ClusterMember): Promise<void>;
  /** Brings a node back that has died, without its data, as a replica of whoever has taken its place by now. Resolves when all nodes know. */
  restart(member: ClusterMember): Promise<void>;
  stop(): Promise<void>;
}

export interface ClusterSettings {
  readonly primaries?: number;
  /** For each primary. */
  readonly replicas?: number;
  /** How long a node must be silent to be taken for dead. A busy machine is silent for a while as well. */
  readonly nodeTimeoutMs?: number;
}

/** Starts the nodes, three primaries with a replica each, and resolves when all of them agree that all is well. */
export async function startValkeyCluster(settings: ClusterSettings = {}): Promise<ValkeyCluster> {
  const { primaries = 3, replicas = 1, nodeTimeoutMs = 2_000 } = settings;
  const options = [
    ...['--cluster-enabled', 'yes', '--cluster-node-timeout', String(nodeTimeoutMs)],
    // A replica takes over whatever it missed, and comes back soon after it was away.
    ...['--cluster-replica-validity-factor', '0', '--repl-diskless-sync-delay', '0'],
    // One that has been sent nothing yet is not listed.
    ...['--repl-ping-replica-period', '1'],
  ];
  const directory = await mkdtemp(join(tmpdir(), 'agentup-cluster-'));
  const started = await Promise.allSettled(
    Array.from({ length: primaries * (1 + replicas) }, async (_, i) => {
      const own = join(directory, String(i));
      await mkdir(own);
      return startValkey([...options, '--dir', own]);
    }),
  );
  const servers = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const admins: Redis[] = [];
  const stop = async (): Promise<void> => {
    for (const admin of admins) admin.disconnect();
    await Promise.all(servers.map((server) => server.stop()));
    await rm(directory, { recursive: true, force: true });
  };
  const restart = async (member: ClusterMember): Promise<void> => {
    const own = join(directory, String(members.indexOf(member)));
    member.server = await startValkey([...options, '--dir', own, '--port', String(member.server.port)]);
    servers.push(member.server);
    await until(async () => (await info(member.admin, 'REPLICATION')).includes('master_link_status:up'));
    // Its primary may serve it before the others have stopped taking it for dead.
    for (const { admin } of members) {
      await until(async () => (await tableOf(admin)).some((ids) => ids.includes(member.id)));
    }
  };
  let members: readonly ClusterMember[] = [];
  try {
    const failed = started.find((one) => one.status === 'rejected');
    if (failed) throw failed.reason;
    members = await Promise.all(
      servers.map(async (server): Promise<ClusterMember> => {
        const admin = new Redis(server.port, '127.0.0.1', { maxRetriesPerRequest: 0 });
        admin.on('error', () => {});
        admins.push(admin);
        return { server, admin, id: String(await admin.call('CLUSTER', 'MYID')) };
      }),
    );
    await form(members, primaries);
    return { url: (servers[0] as ValkeyServer).url, members, ...operations(members), restart, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Hands out the slots, makes the nodes meet, and the later ones replicas of the first. */
async function form(members: readonly ClusterMember[], primaries: number): Promise<void> {
  const [first] = members as [ClusterMember];
  for (const [i, { admin }] of members.entries()) {
    await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
    if (i > 0) await admin.call('CLUSTER', 'MEET', '127.0.0.1', first.server.port);
    if (i >= primaries) continue;
    const [from, to] = [i, i + 1].map((n) => Math.floor((n * SLOTS) / primaries)) as [number, number];
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', from, to - 1);
  }
  for (const { admin } of members) {
    await until(async () => (await info(admin, 'CLUSTER')).includes(`cluster_known_nodes:${members.length}`));
  }
  for (const [i, { admin }] of members.slice(primaries).entries()) {
    await admin.call('CLUSTER', 'REPLICATE', (members[i % primaries] as ClusterMember).id);
  }
  const replicas = members.length / primaries - 1;
  for (const [i, { admin }] of members.entries()) {
    await until(async () => (await info(admin, 'CLUSTER')).includes('cluster_state:ok'));
    await until(async () => {
      const text = await info(admin, 'REPLICATION');
      return i < primaries
        ? (text.match(/state=online/g) ?? []).length === replicas
        : text.includes('master_link_status:up');
    });
    await until(async () => (await tableOf(admin)).filter((ids) => ids.length === 1 + replicas).length === primaries);
  }
}

function operations(members: readonly ClusterMember[]): Pick<ValkeyCluster, 'shardOf' | 'failOver' | 'promoted'> {
  const byId = new Map(members.map((member) => [member.id, member]));
  const promoted = async ({ id }: ClusterMember): Promise<void> => {
    for (const { admin } of members) {
      await until(async () => admin.status !== 'ready' || (await tableOf(admin)).some(([primary]) => primary === id));
      await until(async () => admin.status !== 'ready' || (await info(admin, 'CLUSTER')).includes('state:ok'));
    }
  };
  return {
    async shardOf(key) {
      const { admin } = members.find((member) => member.admin.status === 'ready') as ClusterMember;
      const slot = Number(await admin.call('CLUSTER', 'KEYSLOT', key));
      for (const [from, to, ...nodes] of (await admin.call('CLUSTER', 'SLOTS')) as SlotRange[]) {
        if (slot < from || slot > to) continue;
        const [primary, ...replicas] = nodes.map((node) => byId.get(node[2]) as ClusterMember);
        return { primary: primary as ClusterMember, replicas };
      }
      throw new Error(`nobody serves slot ${slot}`);
    },
    async failOver({ primary, replicas }) {
      const [replica] = replicas as [ClusterMember];
      // One that is still catching up would be waited for, with all clients held up, and given up after five seconds.
      await until(async () => (await info(replica.admin, 'REPLICATION')).includes('master_link_status:up'));
      const leads = async (): Promise<boolean> => (await tableOf(replica.admin)).some(([id]) => id === replica.id);
      for (let tries = 1; !(await leads()); tries++) {
        // Given up by the nodes themselves after five seconds, which a busy machine may take.
        await replica.admin.call('CLUSTER', 'FAILOVER').catch(() => {});
        for (let i = 0; i < 300 && !(await leads()); i++) await delay(20);
        if (tries === 8) throw new Error('the replica did not take over');
      }
      await promoted(replica);
      const whole = (ids: string[]) => ids[0] === replica.id && ids.includes(primary.id);
      for (const { admin } of members) await until(async () => (await tableOf(admin)).some(whole));
    },
    promoted,
  };
}

type SlotRange = [from: number, to: number, ...nodes: [host: string, port: number, id: string][]];

/** The nodes of each range of slots, the primary first. */
async function tableOf(admin: Redis): Promise<string[][]> {
  const ranges = (await admin.call('CLUSTER', 'SLOTS')) as SlotRange[];
  return ranges.map(([, , ...nodes]) => nodes.map(([, , id]) => id));
}

async function info(admin: Redis, section: 'CLUSTER' | 'REPLICATION'): Promise<string> {
  return String(await (section === 'CLUSTER' ? admin.call('CLUSTER', 'INFO') : admin.info('replication')));
}

/** A node that dies under the question is asked again, or found to be away. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  let trouble: unknown;
  const asked = (): Promise<boolean> =>
    holds().catch((error: unknown) => {
      trouble = error;
      return false;
    });
  for (const end = performance.now() + PATIENCE_MS; !(await asked()); await delay(20)) {
    if (performance.now() < end) continue;
    throw new Error(`the cluster was not ready after ${PATIENCE_MS} ms`, { cause: trouble });
  }
}
