import { AgentUpError } from '../errors.js';
import type { OutputOf, StandardSchema } from '../standard-schema.js';
import { CacheEntry } from './cache-entry.js';
import { USERS, userKey } from './cache-keys.js';
import { deleteAll, idsOf } from './cache-listing.js';
import type { CacheParts, GetOptions, SetOptions } from './cache-options.js';
import { isRow } from './row-fields.js';

/**
 * What is known of a user, whatever the conversation: a profile, and entries with a name beside it. The operations
 * are those of an entry and mean the profile; `at('stats')` is the entry of that name. `get`, `set`, `delete` and
 * `exists` take the name as their first argument as well.
 */
export class UserCache extends CacheEntry {
  readonly #parts: CacheParts;
  readonly #tenantId: string;
  readonly #userId: string;

  /** @internal made by `createCaches` */
  constructor(parts: CacheParts, tenantId: string, userId: string) {
    super(parts, userKey(tenantId, userId));
    this.#parts = parts;
    this.#tenantId = tenantId;
    this.#userId = userId;
  }

  /** What is kept of this user under a name. */
  at(name: string): CacheEntry {
    return new CacheEntry(this.#parts, userKey(this.#tenantId, this.#userId, name));
  }

  override get<S extends StandardSchema>(options?: GetOptions<S>): Promise<OutputOf<S> | undefined>;
  override get<S extends StandardSchema>(name: string, options?: GetOptions<S>): Promise<OutputOf<S> | undefined>;
  override async get<S extends StandardSchema>(
    first?: string | GetOptions<S>,
    options?: GetOptions<S>,
  ): Promise<OutputOf<S> | undefined> {
    return typeof first === 'string' ? this.at(first).get(options) : super.get(first);
  }

  override set(profile: Readonly<Record<string, unknown>>, options?: SetOptions): Promise<string>;
  override set(name: string, value: unknown, options?: SetOptions): Promise<string>;
  override async set(first: unknown, ...rest: [value?: unknown, options?: SetOptions]): Promise<string> {
    const [second, options] = rest;
    if (typeof first === 'string' && rest.length > 0) return this.at(first).set(second, options);
    if (!isRow(first)) {
      throw new AgentUpError('INVALID_ARGUMENT', 'a profile is an object', {
        argument: 'profile',
        fix: "pass set(profile), or set('name', value) for an entry beside it",
      });
    }
    return super.set(first, second as SetOptions | undefined);
  }

  override async delete(name?: string): Promise<boolean> {
    return name === undefined ? super.delete() : this.at(name).delete();
  }

  override async exists(name?: string): Promise<boolean> {
    return name === undefined ? super.exists() : this.at(name).exists();
  }

  /** The names of what is kept of this user beside the profile. */
  async *names({ prefix = '' }: { readonly prefix?: string } = {}): AsyncGenerator<string> {
    const query = { space: USERS, scope: [this.#tenantId, this.#userId], prefix: `_${prefix}` };
    for await (const id of idsOf(this.#parts.storage, query)) if (id !== '_') yield id.slice(1);
  }

  /** Forgets the profile and everything beside it. @returns how many entries there were */
  async deleteAll(): Promise<number> {
    return deleteAll(this.#parts.storage, { space: USERS, scope: [this.#tenantId, this.#userId] });
  }
}
