import type { Cluster } from 'iovalkey';
import { AgentUpError } from '../../errors.js';
import { type OpenOptions, openClient } from './open-client.js';
import { replyCode } from './valkey-errors.js';
import type { ValkeyAddress } from './valkey-url.js';

/** What ioredis and its heirs fail with when every node failed, with the reason of the last one. */
interface AllFailed extends Error {
  readonly lastNodeError?: unknown;
}

/** A node by which the others are found. */
export interface Seed {
  readonly host: string;
  readonly port: number;
}

/**
 * A client that has learned which node serves what, from one of the nodes in the url or of those `known` before. Like a single connection it neither connects
 * again nor queues by itself: when the last of its connections is lost it has ended. Nodes are connected to when they
 * are needed. User, password and TLS are the same for all of them.
 */
export async function openCluster(
  addresses: readonly ValkeyAddress[],
  known: readonly Seed[],
  options: OpenOptions,
): Promise<Cluster> {
  const { timeoutMs, tls } = options;
  const [{ username, password, tls: secure } = {} as ValkeyAddress] = addresses;
  // A node that does not answer must leave time for asking another.
  const patience = Math.min(2_000, Math.max(100, Math.ceil(timeoutMs / 4)));
  const { Cluster: Client } = await import('iovalkey');
  const cluster = new Client(
    [...addresses, ...known].map(({ host, port }) => ({ host, port })),
    {
      lazyConnect: true,
      clusterRetryStrategy: () => null,
      enableOfflineQueue: false,
      enableReadyCheck: false,
      slotsRefreshTimeout: patience,
      // By their names, which certificates are made for; connecting resolves them all the same.
      dnsLookup: (name, done) => done(null, name),
      redisOptions: {
        ...(username !== undefined && { username }),
        ...(password !== undefined && { password }),
        ...(secure && { tls: { ...tls } }),
        family: 0,
        familyFallback: { enabled: false },
        connectTimeout: patience,
        enableReadyCheck: false,
        autoResendUnfulfilledCommands: false,
        maxRetriesPerRequest: null,
      },
    },
  );
  let trouble: unknown;
  const note = (error: unknown): void => {
    trouble = (error as AllFailed | undefined)?.lastNodeError ?? error;
  };
  cluster.on('error', note);
  cluster.on('node error', note);
  try {
    await cluster.connect();
    return cluster;
  } catch (error) {
    cluster.disconnect();
    const reason = trouble ?? error;
    if (replyCode(reason) === 'ERR' && /cluster support disabled/i.test((reason as Error).message)) {
      throw notCluster(addresses, reason);
    }
    // Iovalkey only says that a connection was closed; a connection of our own says why.
    if (replyCode(reason) === undefined) await reasonOf(addresses, { ...options, timeoutMs: patience });
    throw reason;
  }
}

/** Fails as a connection to the first of these nodes does. */
async function reasonOf(addresses: readonly ValkeyAddress[], options: OpenOptions): Promise<void> {
  const [first] = addresses;
  if (first) (await openClient(first, options)).disconnect();
}

function notCluster(addresses: readonly ValkeyAddress[], cause: unknown): AgentUpError {
  const shown = addresses.map((address) => address.shown).join(', ');
  return new AgentUpError('STORAGE_FAILED', `the Valkey server ${shown} is not part of a cluster`, {
    backend: 'valkey',
    fix: 'leave out `cluster`',
    cause: new Error((cause as Error).message),
  });
}
