import type { ConnectionOptions } from 'node:tls';
import type { Cluster, Redis } from 'iovalkey';
import { checkObject } from '../../check-object.js';
import { AgentUpError } from '../../errors.js';
import { type Logger, silentLogger } from '../../logger.js';
import { checkCount, checkTtl } from '../changes.js';
import type { ConnectionParts, ValkeyClient } from './valkey-connection.js';
import { parseClusterUrl, parseValkeyUrl } from './valkey-url.js';

/** How safe a commit on Valkey is before it is acknowledged. */
export interface ReplicaDurability {
  /**
   * So many replicas of the server that did the commit must have received it. Too few of them in time:
   * `STORAGE_UNAVAILABLE`, and the commit may be sent again with its `commitId`.
   */
  readonly replicas: number;
}

/** How a `ValkeyStorage` is opened: by `url`, or with a `client` of your own. */
export interface ValkeyStorageOptions {
  /** `valkey://[user[:password]@]host[:port][/database]`, `valkeys://` for TLS; `redis`, `rediss` mean the same. */
  readonly url?: string;
  /**
   * The server is a Valkey Cluster. `url` then names one of its nodes, or several separated by commas, with user,
   * password and TLS of all of them; its database is 0. Default false.
   */
  readonly cluster?: boolean;
  /** A client of iovalkey, also a Cluster. It is used as it is and not closed. */
  readonly client?: ValkeyClient;
  /** Begins every key, so that several applications can share a server. */
  readonly keyPrefix: string;
  /** Default time to live in seconds; never when absent. */
  readonly ttl?: number;
  /**
   * Everything answers or fails within this many milliseconds. Default 2000. Those in which this process stands still
   * do not count. On a cluster a failover is not noticed where this is longer than it takes.
   */
  readonly timeoutMs?: number;
  /** What a commit waits for. Default: the primary has done it. */
  readonly durability?: ReplicaDurability;
  /** With a `valkeys://` url: what Node's `tls.connect` takes, for example `ca`. */
  readonly tls?: ConnectionOptions;
  /** Hears what could not be returned: the index lagging behind, a password that is not needed. */
  readonly logger?: Logger;
}

const EXAMPLE = "new ValkeyStorage({ url: 'valkey://localhost:6379', keyPrefix: 'my-agent:' })";

/** The options of a storage, with their defaults, once nothing is wrong with them. */
export interface CheckedOptions {
  /** What `url` or `client` leads to. */
  readonly target: ConnectionParts['target'];
  readonly keyPrefix: string;
  readonly ttl: number | undefined;
  readonly timeoutMs: number;
  readonly durability: ReplicaDurability | undefined;
  readonly tls: ConnectionOptions | undefined;
  readonly logger: Logger;
}

/** @throws INVALID_ARGUMENT, TTL_INVALID */
export function checkedOptions(options: ValkeyStorageOptions): CheckedOptions {
  checkObject(options, 'ValkeyStorage', EXAMPLE);
  const { url, client, cluster = false, keyPrefix, ttl, timeoutMs = 2_000, durability, tls } = options;
  const { logger = silentLogger } = options;
  if ((url === undefined) === (client === undefined)) {
    throw new AgentUpError('INVALID_ARGUMENT', 'give either a url or a client', {
      argument: 'url',
      fix: `write ${EXAMPLE}`,
    });
  }
  // One of another library has another interface, and would be found out by the first call.
  if (client !== undefined && typeof (client as Partial<ValkeyClient> | null)?.sendCommand !== 'function') {
    throw new AgentUpError('INVALID_ARGUMENT', 'client is not one of iovalkey', {
      argument: 'client',
      fix: 'give a Redis or Cluster of iovalkey, or a url in its place',
    });
  }
  if (client && givesNumbersAsTexts(client)) {
    throw new AgentUpError('INVALID_ARGUMENT', 'client has stringNumbers, which makes texts of numbers', {
      argument: 'client',
      fix: 'make the client without `stringNumbers`',
    });
  }
  if (client !== undefined && cluster) {
    throw new AgentUpError('INVALID_ARGUMENT', 'cluster belongs to a url; a client is one of a cluster or is not', {
      argument: 'cluster',
      fix: 'leave out `cluster`, and give a Cluster of iovalkey as `client`',
    });
  }
  if (ttl !== undefined) checkTtl(ttl);
  checkCount(timeoutMs, 'timeoutMs', 1);
  if (durability) checkCount(durability.replicas, 'durability.replicas', 1);
  const target = client ?? (cluster ? parseClusterUrl(url) : parseValkeyUrl(url));
  return { target, keyPrefix, ttl, timeoutMs, durability, tls, logger };
}

function givesNumbersAsTexts(client: ValkeyClient): boolean {
  const options = client.isCluster ? (client as Cluster).options.redisOptions : (client as Redis).options;
  return options?.stringNumbers === true;
}
