import type { OutputOf, StandardSchema } from '../standard-schema.js';
import type { CacheEntry } from './cache-entry.js';
import type { Entry, GetOptions, SetOptions, WriteOptions } from './cache-options.js';

/**
 * The operations on one entry, for a cache whose entries are named by `Key`: a name, or a table and a key in it. What
 * each does is documented at `CacheEntry`.
 */
export abstract class KeyedCache<Key extends readonly string[]> {
  /** How many arguments name an entry. */
  protected abstract readonly arity: Key['length'];

  /** The handle to one entry: the same operations without its name. */
  abstract at(...key: Key): CacheEntry;

  /** The value, or `undefined` where there is none. @throws SCHEMA_INVALID */
  async get<S extends StandardSchema>(
    ...args: [...key: Key, options?: GetOptions<S>]
  ): Promise<OutputOf<S> | undefined> {
    const [entry, options] = this.#split<[GetOptions<S>?]>(args);
    return entry.get(options);
  }

  /** The value with its version and the seconds it has left. */
  async getEntry<S extends StandardSchema>(
    ...args: [...key: Key, options?: GetOptions<S>]
  ): Promise<Entry<OutputOf<S>> | undefined> {
    const [entry, options] = this.#split<[GetOptions<S>?]>(args);
    return entry.getEntry(options);
  }

  /** Replaces all of it; permanent unless `ttl` says otherwise. @returns its version @throws CONFLICT, SCHEMA_INVALID */
  async set(...args: [...key: Key, value: unknown, options?: SetOptions]): Promise<string> {
    const [entry, value, options] = this.#split<[unknown, SetOptions?]>(args);
    return entry.set(value, options);
  }

  /** Sets these fields and keeps the others. @returns its version */
  async patch(
    ...args: [...key: Key, fields: Readonly<Record<string, unknown>>, options?: WriteOptions]
  ): Promise<string> {
    const [entry, fields, options] = this.#split<[Readonly<Record<string, unknown>>, WriteOptions?]>(args);
    return entry.patch(fields, options);
  }

  /** @returns whether there was one */
  async delete(...key: Key): Promise<boolean> {
    return this.at(...key).delete();
  }

  async exists(...key: Key): Promise<boolean> {
    return this.at(...key).exists();
  }

  /** One field; `undefined` where there is no such field or entry. */
  async getField<S extends StandardSchema>(
    ...args: [...key: Key, field: string, options?: GetOptions<S>]
  ): Promise<OutputOf<S> | undefined> {
    const [entry, field, options] = this.#split<[string, GetOptions<S>?]>(args);
    return entry.getField(field, options);
  }

  /** @returns the version @throws WRONG_TYPE where the entry is no object */
  async setField(...args: [...key: Key, field: string, value: unknown, options?: WriteOptions]): Promise<string> {
    const [entry, field, value, options] = this.#split<[string, unknown, WriteOptions?]>(args);
    return entry.setField(field, value, options);
  }

  /** Adds a whole number (1); a missing field counts as 0. @returns the sum @throws WRONG_TYPE, INTEGER_OVERFLOW */
  async incrementField(...args: [...key: Key, field: string, by?: number, options?: WriteOptions]): Promise<number> {
    const [entry, field, by, options] = this.#split<[string, number?, WriteOptions?]>(args);
    return entry.incrementField(field, by, options);
  }

  /** Appends to a list; a missing field becomes one. @returns the version @throws WRONG_TYPE */
  async appendToList(...args: [...key: Key, field: string, item: unknown, options?: WriteOptions]): Promise<string> {
    const [entry, field, item, options] = this.#split<[string, unknown, WriteOptions?]>(args);
    return entry.appendToList(field, item, options);
  }

  /** Seconds until it expires; `null` never; `undefined` where there is none. */
  async getTtl(...key: Key): Promise<number | null | undefined> {
    return this.at(...key).getTtl();
  }

  /** Without `ttl`: the default of its table. @returns whether there is such an entry @throws TTL_INVALID */
  async setTtl(...args: [...key: Key, ttl?: number | 'none']): Promise<boolean> {
    const [entry, ttl] = this.#split<[(number | 'none')?]>(args);
    return entry.setTtl(ttl);
  }

  /**
   * Replaces the value by what `change` makes of what is stored; called again when somebody else wrote meanwhile.
   * @throws CONFLICT, SCHEMA_INVALID
   */
  async update<T = unknown, R = T>(
    ...args: [...key: Key, change: (value: T | undefined) => T | Promise<T>, options?: WriteOptions]
  ): Promise<R> {
    const [entry, change, options] = this.#split<[(value: T | undefined) => T | Promise<T>, WriteOptions?]>(args);
    return entry.update(change, options);
  }

  #split<Rest extends unknown[]>(args: readonly unknown[]): [CacheEntry, ...Rest] {
    return [this.at(...(args.slice(0, this.arity) as unknown as Key)), ...(args.slice(this.arity) as Rest)];
  }
}
