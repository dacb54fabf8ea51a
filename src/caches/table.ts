import { AgentUpError, isAgentUpError } from '../errors.js';
import { encode, refuseSealed } from '../json.js';
import type { Logger } from '../logger.js';
import { type InputOf, type OutputOf, type StandardSchema, validate } from '../standard-schema.js';
import { checkTtl } from '../storage/changes.js';
import type { ListQuery } from '../storage/state-storage.js';
import { CacheEntry } from './cache-entry.js';
import { checkField, checkName, rowKey, TABLES } from './cache-keys.js';
import { deleteAll, idsOf } from './cache-listing.js';
import type { CacheParts, GetOptions, WriteOptions } from './cache-options.js';
import { KeyedCache } from './keyed-cache.js';
import { contentOf, fieldName } from './row-fields.js';
import { RowIndex } from './row-index.js';
import { TableVersion } from './table-version.js';
import { type CreateResult, createIfAbsent, type Expected, type ReplaceResult, replaceIf } from './transitions.js';

export interface TableOptions {
  /** Seconds that a row lives when it is set without a ttl of its own. Default: for ever. */
  readonly ttl?: number | 'none' | undefined;
  /** Fields that rows can be found by. */
  readonly indexes?: readonly string[] | undefined;
  /** `bumpVersion()` makes all rows void at once. Costs a round trip more for every call. */
  readonly versioned?: boolean | undefined;
}

/** What `getAll` does with a row that does not fit the schema. */
export type Invalid = 'throw' | 'skip' | 'collect';

export interface RowOf<T> {
  readonly key: string;
  readonly row: T;
}

/** One table of a tenant: its rows, and all of them together. Every write and every read fits its schema. */
export class Table<S extends StandardSchema = StandardSchema> extends KeyedCache<[key: string]> {
  protected readonly arity = 1;
  readonly name: string;
  readonly #parts: CacheParts;
  readonly #tenantId: string;
  readonly #schema: S | undefined;
  readonly #options: TableOptions;
  readonly #index: RowIndex | undefined;
  readonly #version: TableVersion | undefined;

  /** @internal made by `TableCache` */
  constructor(parts: CacheParts, tenantId: string, name: string, schema: S | undefined, options: TableOptions) {
    super();
    checkName(name, 'table');
    if (options.ttl !== undefined) checkTtl(options.ttl);
    const { indexes = [], versioned = false } = options;
    for (const field of indexes) checkField(field);
    this.name = name;
    this.#parts = parts;
    this.#tenantId = tenantId;
    this.#schema = schema;
    this.#options = options;
    this.#index = indexes.length > 0 ? new RowIndex(parts.storage, indexes) : undefined;
    this.#version = versioned ? new TableVersion(parts.storage, tenantId, name) : undefined;
  }

  at(key: string): CacheEntry {
    const entry = rowKey(this.#tenantId, this.name, key);
    const place = this.#version && (async () => ({ ...entry.record, scope: await this.#scope() }));
    return new CacheEntry(this.#parts, entry, {
      schema: this.#schema,
      ttl: this.#options.ttl,
      index: this.#index,
      place,
    });
  }

  override async get<T extends StandardSchema = S>(
    key: string,
    options?: GetOptions<T>,
  ): Promise<OutputOf<T> | undefined> {
    return this.at(key).get(options);
  }

  /**
   * Replaces the row by what `change` makes of it, and returns that as a read would. `change` is given the row as it is
   * stored, which is the input of the schema, and answers with the like. It is called again when somebody else wrote
   * meanwhile.
   * @throws CONFLICT, SCHEMA_INVALID
   */
  override async update<T extends InputOf<S> = InputOf<S>, R = StandardSchema extends S ? T : OutputOf<S>>(
    key: string,
    change: (row: T | undefined) => T | Promise<T>,
    options?: WriteOptions,
  ): Promise<R> {
    return this.at(key).update<T, R>(change, options);
  }

  /** The keys of all rows; those that begin with `prefix`, which is a text and no pattern. */
  async *keys({ prefix }: { readonly prefix?: string } = {}): AsyncGenerator<string> {
    yield* idsOf(this.#parts.storage, await this.#query(prefix));
  }

  /**
   * All rows, from a few round trips.
   * @param options.invalid a row that does not fit: `throw` (default), `skip`, or `collect` into `onInvalid`
   */
  async getAll(
    options: {
      readonly prefix?: string;
      readonly invalid?: Invalid;
      readonly onInvalid?: (key: string, error: AgentUpError) => void;
    } = {},
  ): Promise<RowOf<OutputOf<S>>[]> {
    const rows: RowOf<OutputOf<S>>[] = [];
    const query = { ...(await this.#query(options.prefix)), contents: true };
    for await (const { key, record } of this.#parts.storage.list(query)) {
      const { id } = key;
      if (!record) continue;
      const row = contentOf(record.fields);
      try {
        rows.push({ key: id, row: (this.#schema ? await this.#fitting(id, row) : row) as OutputOf<S> });
      } catch (error) {
        if (!isAgentUpError(error, 'SCHEMA_INVALID') || (options.invalid ?? 'throw') === 'throw') throw error;
        if (options.invalid === 'collect') options.onInvalid?.(id, error);
      }
    }
    return rows;
  }

  /** The rows whose field holds exactly this value. @throws INVALID_ARGUMENT for a field that is no index */
  async findByField(field: string, value: unknown): Promise<RowOf<OutputOf<S>>[]> {
    const index = this.#index;
    if (!index?.fields.includes(field)) {
      throw new AgentUpError('INVALID_ARGUMENT', `${this.name} has no index on ${JSON.stringify(field)}`, {
        argument: 'field',
        fix: `declare it: tableCache.table('${this.name}', schema, { indexes: ['${field}'] })`,
      });
    }
    const token = encode(value);
    const scope = await this.#scope();
    const keys: string[] = [];
    for await (const key of index.keys(scope, field, value)) keys.push(key);
    const placeOf = (key: string) => ({ space: TABLES, scope, id: key });
    const records = await Promise.all(keys.map((key) => this.#parts.storage.read(placeOf(key))));
    const rows: RowOf<OutputOf<S>>[] = [];
    for (const [i, key] of keys.entries()) {
      const record = records[i];
      const held = record?.fields.get(fieldName(field));
      if (held !== undefined) refuseSealed(held);
      if (record && held === token) {
        const row = contentOf(record.fields);
        rows.push({ key, row: (this.#schema ? await this.#fitting(key, row) : row) as OutputOf<S> });
      } else this.#aside(index.correct(placeOf(key), field, value));
    }
    return rows;
  }

  /** Removes every row. @returns how many there were */
  async deleteAll(): Promise<number> {
    const scope = await this.#scope();
    const removed = await deleteAll(this.#parts.storage, { space: TABLES, scope });
    await this.#index?.leaveAll(scope);
    return removed;
  }

  /** Writes the row if there is none. */
  async createIfAbsent(
    key: string,
    row: Readonly<Record<string, unknown>>,
    options?: WriteOptions,
  ): Promise<CreateResult<OutputOf<S>>> {
    return createIfAbsent(this.at(key), row, options);
  }

  /** Replaces the row if its fields hold exactly what is expected. Keeps its life unless `ttl` says otherwise. */
  async replaceIf(
    key: string,
    row: Readonly<Record<string, unknown>>,
    expected: Expected,
    options?: WriteOptions,
  ): Promise<ReplaceResult<OutputOf<S>>> {
    return replaceIf(this.at(key), row, expected, options);
  }

  /** The value, or what `load` makes of it; see `CacheEntry.getOrLoad`. */
  async getOrLoad<T extends InputOf<S> = InputOf<S>, R = StandardSchema extends S ? T : OutputOf<S>>(
    key: string,
    load: () => T | Promise<T>,
    options?: WriteOptions,
  ): Promise<R> {
    return this.at(key).getOrLoad<T, R>(load, options);
  }

  /** The number of the present generation; 1 for a table that was never bumped. @throws INVALID_ARGUMENT */
  async version(): Promise<number> {
    return (await this.#versions().current()).version;
  }

  /** Makes all rows void, for everybody and at once. @returns the number of the new generation */
  async bumpVersion(): Promise<number> {
    const { generation, ended } = await this.#versions().bump();
    for (const id of ended) this.#aside(this.#sweep(this.#scopeOf(id)));
    return generation.version;
  }

  #versions(): TableVersion {
    if (this.#version) return this.#version;
    throw new AgentUpError('INVALID_ARGUMENT', `the table ${this.name} is not versioned`, {
      argument: 'versioned',
      fix: `declare it: tableCache.table('${this.name}', schema, { versioned: true })`,
    });
  }

  async #scope(): Promise<readonly string[]> {
    return this.#version ? this.#scopeOf((await this.#version.current()).id) : [this.#tenantId, this.name];
  }

  #scopeOf(generation: string): readonly string[] {
    return [this.#tenantId, this.name, generation];
  }

  async #query(prefix: string | undefined): Promise<ListQuery> {
    const scope = await this.#scope();
    return prefix === undefined ? { space: TABLES, scope } : { space: TABLES, scope, prefix };
  }

  /** A row as the schema, which there is, puts it out. */
  #fitting(key: string, row: unknown): Promise<OutputOf<S>> {
    return validate(this.#schema as S, row, rowKey(this.#tenantId, this.name, key).shown);
  }

  /** Removes what is left of a generation that has ended. */
  async #sweep(scope: readonly string[]): Promise<void> {
    await deleteAll(this.#parts.storage, { space: TABLES, scope });
    await this.#index?.clear(scope);
  }

  /** What fails here is made good by the next one who comes by. */
  #aside(work: Promise<unknown>): void {
    const { logger }: { logger: Logger } = this.#parts;
    work.catch((error: unknown) => logger.warn(error, `the table ${this.name} could not be tidied`));
  }
}
