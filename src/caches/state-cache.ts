import { CacheEntry } from './cache-entry.js';
import { checkName, flowOwner, STATES, stateKey } from './cache-keys.js';
import { deleteAll, idsOf } from './cache-listing.js';
import type { CacheParts } from './cache-options.js';
import { KeyedCache } from './keyed-cache.js';

/** Where a user is in his flows: one entry per flow (`pizza_order`), per user, per tenant. */
export class StateCache extends KeyedCache<[name: string]> {
  protected readonly arity = 1;
  readonly #parts: CacheParts;
  readonly #tenantId: string;
  readonly #userId: string;

  /** @internal made by `createCaches` */
  constructor(parts: CacheParts, tenantId: string, userId: string) {
    super();
    this.#parts = parts;
    this.#tenantId = tenantId;
    this.#userId = userId;
  }

  at(name: string): CacheEntry {
    return new CacheEntry(this.#parts, stateKey(this.#tenantId, this.#userId, name));
  }

  /** The flows that this user is in; those whose names begin with `prefix`, which is a text and no pattern. */
  names({ prefix }: { readonly prefix?: string } = {}): AsyncIterable<string> {
    return idsOf(this.#parts.storage, this.#query(prefix));
  }

  /** Ends the flows whose names begin with this text. @returns how many there were */
  async deleteByPrefix(prefix: string): Promise<number> {
    checkName(prefix, 'prefix');
    return deleteAll(this.#parts.storage, this.#query(prefix));
  }

  /** Ends all flows of this user. @returns how many there were */
  async deleteAll(): Promise<number> {
    return deleteAll(this.#parts.storage, this.#query());
  }

  /** The users of this tenant that are in a flow. */
  async *usersIn(name: string): AsyncGenerator<string> {
    checkName(name, 'name');
    for await (const { key } of this.#parts.storage.list({ space: STATES, owner: flowOwner(this.#tenantId, name) })) {
      const [tenant, user] = key.scope;
      if (tenant === this.#tenantId && user !== undefined && key.id === name) yield user;
    }
  }

  #query(prefix?: string) {
    const scope = [this.#tenantId, this.#userId];
    return prefix === undefined ? { space: STATES, scope } : { space: STATES, scope, prefix };
  }
}
