import type { StandardSchema } from '../standard-schema.js';
import type { CacheEntry } from './cache-entry.js';
import type { CacheParts, WriteOptions } from './cache-options.js';
import { KeyedCache } from './keyed-cache.js';
import { Table, type TableOptions } from './table.js';
import type { CreateResult, Expected, ReplaceResult } from './transitions.js';

/**
 * Rows that all users of a tenant share: catalogues, orders, counters. `table(name, schema, options)` declares a table
 * and gives the handle to it; the calls here name the table first, and keep to what was declared of it.
 */
export class TableCache extends KeyedCache<[table: string, key: string]> {
  protected readonly arity = 2;
  readonly #parts: CacheParts;
  readonly #tenantId: string;
  readonly #tables = new Map<string, Table>();

  /** @internal made by `createCaches` */
  constructor(parts: CacheParts, tenantId: string) {
    super();
    this.#parts = parts;
    this.#tenantId = tenantId;
  }

  at(table: string, key: string): CacheEntry {
    return this.#table(table).at(key);
  }

  /** Declares a table: what its rows look like, how long they live, what they are found by. */
  table<S extends StandardSchema = StandardSchema>(name: string, schema?: S, options: TableOptions = {}): Table<S> {
    const table = new Table(this.#parts, this.#tenantId, name, schema, options);
    this.#tables.set(name, table as unknown as Table);
    return table;
  }

  /** The keys of a table's rows. */
  keys(table: string, options?: { readonly prefix?: string }): AsyncIterable<string> {
    return this.#table(table).keys(options);
  }

  /** All rows of a table. */
  async getAll(table: string, options?: Parameters<Table['getAll']>[0]): ReturnType<Table['getAll']> {
    return this.#table(table).getAll(options);
  }

  /** The rows of a table whose field holds exactly this value; the field is a declared index. */
  async findByField(table: string, field: string, value: unknown): ReturnType<Table['findByField']> {
    return this.#table(table).findByField(field, value);
  }

  /** Removes every row of a table. @returns how many there were */
  async deleteTable(table: string): Promise<number> {
    return this.#table(table).deleteAll();
  }

  /** Writes the row if there is none. */
  async createIfAbsent(
    table: string,
    key: string,
    row: Readonly<Record<string, unknown>>,
    options?: WriteOptions,
  ): Promise<CreateResult<unknown>> {
    return this.#table(table).createIfAbsent(key, row, options);
  }

  /** Replaces the row if its fields hold exactly what is expected. */
  async replaceIf(
    table: string,
    key: string,
    row: Readonly<Record<string, unknown>>,
    expected: Expected,
    options?: WriteOptions,
  ): Promise<ReplaceResult<unknown>> {
    return this.#table(table).replaceIf(key, row, expected, options);
  }

  #table(name: string): Table {
    return this.#tables.get(name) ?? new Table(this.#parts, this.#tenantId, name, undefined, {});
  }
}
