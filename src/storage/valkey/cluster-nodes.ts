import type { Cluster, Redis } from 'iovalkey';
import type { Seed } from './open-cluster.js';

/**
 * What we rely on in iovalkey's Cluster: its table of slots and its connections. Its own way of sending is passed by:
 * it sends again what may have been done, as often and for as long as it likes, and never says which node answered.
 */
interface ClusterBase {
  readonly slots: readonly (readonly string[] | undefined)[];
  readonly connectionPool: {
    getInstanceByKey(key: string): Redis | undefined;
    findOrCreate(options: Seed, readOnly?: boolean): { readonly redis: Redis };
  };
  natMapper(key: string): Seed;
  refreshSlotsCache(done: (error?: Error | null) => void): void;
}

/** The table is asked for at most once in this time, in milliseconds, however many calls go astray. */
const REFRESH_MS = 100;
const SLOTS = 16_384;

/** Finds the connection to the primary of a slot, on a cluster whose primaries change. */
export class ClusterNodes {
  readonly #cluster: ClusterBase;
  readonly #lost: () => void;
  /** Slots that moved since the table was read. */
  readonly #moved = new Map<number, string>();
  readonly #connecting = new WeakMap<Redis, Promise<void>>();
  #refreshing = false;
  #refreshedAt = Number.NEGATIVE_INFINITY;

  /** `lost`: called when none of the nodes could say any more which of them serves what. */
  constructor(cluster: Cluster, lost: () => void) {
    this.#cluster = cluster as unknown as ClusterBase;
    this.#lost = lost;
  }

  /** Every node that serves slots, as far as known. */
  known(): Seed[] {
    const keys = new Set<string>();
    // A range of slots shares one list of nodes.
    for (const nodes of new Set(this.#cluster.slots)) for (const key of nodes ?? []) keys.add(key);
    return [...keys].map((key) => {
      const colon = key.lastIndexOf(':');
      return { host: key.slice(0, colon), port: Number(key.slice(colon + 1)) };
    });
  }

  /**
   * The connection to the primary of a slot, ready or not; `undefined` when the slot has none. For a question without
   * a slot any primary.
   */
  primaryOf(slot: number | null): Redis | undefined {
    const { slots } = this.#cluster;
    const wanted = slot ?? Math.floor(Math.random() * SLOTS);
    const key = this.#moved.get(wanted) ?? slots[wanted]?.[0];
    return key === undefined ? undefined : this.#nodeOf(key);
  }

  /** A node said that a slot has moved to another, whose address it gave. The connection there. */
  moved(slot: number, address: string, from: Redis): Redis {
    const key = addressOf(address, from);
    this.#moved.set(slot, key);
    const node = this.#nodeOf(key);
    // A proxy behind whose address another node is now: what is connected there stays with the old one.
    if (node === from) from.disconnect();
    this.refresh();
    return node;
  }

  /** A node said that a key is to be asked for elsewhere this once. The connection there. */
  asked(address: string, from: Redis): Redis {
    return this.#nodeOf(addressOf(address, from));
  }

  /** Settles when the connection can be written to. Rejects with the reason why it cannot. */
  connected(node: Redis): Promise<void> {
    let promise = this.#connecting.get(node);
    if (!promise) {
      promise = connect(node).finally(() => this.#connecting.delete(node));
      this.#connecting.set(node, promise);
    }
    return promise;
  }

  /** Reads the table of slots anew, beside what is going on. */
  refresh(): void {
    if (this.#refreshing || performance.now() - this.#refreshedAt < REFRESH_MS) return;
    this.#refreshing = true;
    this.#cluster.refreshSlotsCache((error) => {
      this.#refreshing = false;
      this.#refreshedAt = performance.now();
      if (error) this.#lost();
      else this.#moved.clear();
    });
  }

  #nodeOf(key: string): Redis {
    const known = this.#cluster.connectionPool.getInstanceByKey(key);
    if (known && !known.options.readOnly) return known;
    // Where a replica became a primary this also tells iovalkey of its new role.
    return this.#cluster.connectionPool.findOrCreate(this.#cluster.natMapper(key)).redis;
  }
}

/** An address without a host means the one that gave it. */
function addressOf(address: string, from: Redis): string {
  return address.startsWith(':') ? `${from.options.host}${address}` : address;
}

function connect(node: Redis): Promise<void> {
  return new Promise((resolve, reject) => {
    let trouble: unknown;
    const note = (error: unknown): void => {
      trouble ??= error;
    };
    const done = (): void => {
      node.off('error', note);
      node.off('ready', done);
      node.off('end', done);
      if (node.status === 'ready') resolve();
      else reject(trouble ?? new Error('the connection to a node of the cluster was closed'));
    };
    node.on('error', note);
    node.once('ready', done);
    node.once('end', done);
    if (node.status === 'wait') node.connect().catch(note);
    else if (node.status === 'ready' || node.status === 'end') done();
  });
}
