import { createHash } from 'node:crypto';
import { encode, type Token } from '../json.js';
import type { RecordKey } from '../storage/keys.js';
import type { ListQuery, StateStorage } from '../storage/state-storage.js';
import { deleteAll } from './cache-listing.js';
import { fieldName } from './row-fields.js';

/** The space of the entries. */
const INDEX = 'cache-index';
/** An entry outlives its row by so much, and one that is given up lives so much longer. Seconds. */
const MARGIN = 120;

type Fields = ReadonlyMap<string, Token>;

/**
 * Finds the rows of a table by what a field holds. An entry is only ever a hint: who finds one looks at the row itself.
 * What must not happen is a row without its entry. So an entry is made before the row says so (`enter`) and once more
 * after (`confirm`), and is given up (`leave`) by a compared write, after a look at the row: a writer that enters
 * meanwhile changes the entry's version, one that entered before confirms after.
 */
export class RowIndex {
  readonly fields: readonly string[];
  readonly #storage: StateStorage;

  constructor(storage: StateStorage, fields: readonly string[]) {
    this.#storage = storage;
    this.fields = fields;
  }

  /** Makes the entries of a row that is about to be written. `ttl`: seconds that it will live; `undefined`: for ever. */
  async enter(row: RecordKey, fields: Fields, ttl: number | undefined): Promise<void> {
    const expiry = { set: ttl === undefined ? ('none' as const) : ttl + MARGIN };
    const touch = [{ op: 'touch' as const }];
    await Promise.all(this.#entries(row, fields).map(({ key }) => this.#storage.commit(key, touch, { expiry })));
  }

  /** Makes those again that are new, once the row has been written. */
  async confirm(row: RecordKey, before: Fields | undefined, fields: Fields, ttl: number | undefined): Promise<void> {
    const fresh = new Map([...fields].filter(([field, token]) => before?.get(field) !== token));
    await this.enter(row, fresh, ttl);
  }

  /** Gives up the entries of what a row has held, unless it holds it again. */
  async leave(row: RecordKey, before: Fields, now?: Fields): Promise<void> {
    const gone = this.#entries(row, before).filter(({ field, token }) => now?.get(fieldName(field)) !== token);
    await Promise.all(gone.map(({ key, field, token }) => this.#giveUp(row, key, field, token)));
  }

  /** The keys of rows that may hold this value in this field. */
  async *keys(scope: readonly string[], field: string, value: unknown): AsyncGenerator<string> {
    const prefix = `${digest(encode(value))}/`;
    const query: ListQuery = { space: INDEX, scope: [...scope, field], prefix };
    for await (const { key } of this.#storage.list(query)) yield key.id.slice(prefix.length);
  }

  /** Gives up an entry that was found to say what is not so. */
  async correct(row: RecordKey, field: string, value: unknown): Promise<void> {
    await this.leave(row, new Map([[fieldName(field), encode(value)]]));
  }

  /** Removes all entries of a table, or of a generation of one. */
  async clear(scope: readonly string[]): Promise<void> {
    for (const field of this.fields) await deleteAll(this.#storage, { space: INDEX, scope: [...scope, field] });
  }

  async #giveUp(row: RecordKey, entry: RecordKey, field: string, token: Token): Promise<void> {
    const seen = await this.#storage.read(entry, { fields: [] });
    if (!seen) return;
    const record = await this.#storage.read(row, { fields: [fieldName(field)] });
    if (record?.fields.get(fieldName(field)) === token) return;
    await this.#storage.commit(entry, [], { condition: { version: seen.version }, expiry: { set: MARGIN } });
  }

  #entries({ scope, id }: RecordKey, fields: Fields): { key: RecordKey; field: string; token: Token }[] {
    return this.fields.flatMap((field) => {
      const token = fields.get(fieldName(field));
      if (token === undefined) return [];
      return [{ key: { space: INDEX, scope: [...scope, field], id: `${digest(token)}/${id}` }, field, token }];
    });
  }
}

/** Values may be long, names may not. */
function digest(token: Token): string {
  return createHash('sha256').update(token).digest('hex').slice(0, 32);
}
