import { createHash } from 'node:crypto';
import { encode, refuseSealed, type Token } from '../json.js';
import { MAX_TTL } from '../storage/changes.js';
import type { RecordKey } from '../storage/keys.js';
import type { Change, Committed, ListQuery, StateStorage } from '../storage/state-storage.js';
import { TABLES } from './cache-keys.js';
import { deleteAll, forEach } from './cache-listing.js';
import { fieldName } from './row-fields.js';

/** The space of the entries. */
const INDEX = 'cache-index';
/** An entry outlives its row by so much, and one that is given up lives so much longer. Seconds. */
const MARGIN = 120;
/** Growth of a row's life that the margin covers. Seconds. */
const SLACK = MARGIN / 2;

type Fields = ReadonlyMap<string, Token>;
const TOUCH: readonly Change[] = [{ op: 'touch' }];

/**
 * Finds the rows of a table by what a field holds. An entry is only ever a hint: who finds one looks at the row itself.
 * What must not happen is a row without its entry. So an entry is made before the row says so (`enter`) and once more
 * after (`confirm`), neither of which makes one that is there live shorter: its row may be another writer's by then,
 * or this one may die before it writes. Only `leave` does, by a compared write after a look at the row: a writer that
 * enters meanwhile changes the entry's version, one that entered before confirms after.
 */
export class RowIndex {
  readonly fields: readonly string[];
  readonly #storage: StateStorage;

  constructor(storage: StateStorage, fields: readonly string[]) {
    this.#storage = storage;
    this.fields = fields;
  }

  /**
   * Makes the entries of a row that is about to be written.
   * @param before what it holds until then
   * @param ttl seconds that it will live; `undefined`: for ever
   */
  async enter(row: RecordKey, before: Fields | undefined, fields: Fields, ttl: number | undefined): Promise<void> {
    await Promise.all(
      this.#entries(row, fields).map(async ({ key, field, token }) => {
        const isKnown = before?.get(fieldName(field)) === token;
        if (isKnown || !(await this.#make(key, ttl))) await this.#keep(key, ttl);
      }),
    );
  }

  /** Makes those again that are new, or were entered for a longer life, once the row has been written. */
  async confirm(
    row: RecordKey,
    before: Fields | undefined,
    fields: Fields,
    life: { readonly before: number | undefined; readonly after: number | undefined },
  ): Promise<void> {
    const grows = (life.after ?? Number.POSITIVE_INFINITY) - (life.before ?? Number.POSITIVE_INFINITY) > SLACK;
    const fresh = new Map([...fields].filter(([field, token]) => grows || before?.get(field) !== token));
    await Promise.all(this.#entries(row, fresh).map(({ key }) => this.#keep(key, life.after)));
  }

  /** Gives up the entries of what a row has held, so far as it does not need them any longer. */
  async leave(row: RecordKey, before: Fields, now?: Fields): Promise<void> {
    const gone = this.#entries(row, before).filter(({ field, token }) => now?.get(fieldName(field)) !== token);
    await Promise.all(gone.map(({ key, field }) => this.#giveUp(row, key, field)));
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

  /** Gives up the entries of a table whose rows were deleted; rows that came meanwhile keep theirs. */
  async leaveAll(scope: readonly string[]): Promise<void> {
    for (const field of this.fields) {
      await forEach(this.#storage, { space: INDEX, scope: [...scope, field] }, (key) =>
        this.#giveUp({ space: TABLES, scope, id: key.id.slice(DIGITS + 1) }, key, field),
      );
    }
  }

  /** Removes all entries of a scope where no row will ever be looked for again. */
  async clear(scope: readonly string[]): Promise<void> {
    for (const field of this.fields) await deleteAll(this.#storage, { space: INDEX, scope: [...scope, field] });
  }

  /** @returns whether there was none */
  async #make(entry: RecordKey, ttl: number | undefined): Promise<boolean> {
    const options = { condition: { exists: false }, expiry: { set: lifeOf(ttl) } };
    return (await this.#storage.commit(entry, TOUCH, options)).committed;
  }

  /** Changes its version, and makes it live longer where its row is about to. */
  async #keep(entry: RecordKey, ttl: number | undefined): Promise<void> {
    for (;;) {
      const { version, updatedAt, expiresAt } = (await this.#storage.commit(entry, TOUCH)) as Committed;
      if (expiresAt === undefined) return;
      if (ttl !== undefined && expiresAt - updatedAt >= (ttl + SLACK) * 1000) return;
      const options = { condition: { version }, expiry: { set: lifeOf(ttl) } };
      if ((await this.#storage.commit(entry, [], options)).committed) return;
    }
  }

  async #giveUp(row: RecordKey, entry: RecordKey, field: string): Promise<void> {
    const seen = await this.#storage.read(entry, { fields: [] });
    // Once is enough, or one that is found again and again would never end.
    if (!seen || (seen.expiresAt !== undefined && seen.expiresAt - seen.updatedAt <= MARGIN * 1000)) return;
    const record = await this.#storage.read(row, { fields: [fieldName(field)] });
    const token = record?.fields.get(fieldName(field));
    if (token !== undefined) refuseSealed(token);
    const condition = { version: seen.version };
    if (!record || token === undefined || digest(token) !== entry.id.slice(0, DIGITS)) {
      await this.#storage.commit(entry, [], { condition, expiry: { set: MARGIN } });
      return;
    }
    if (record.expiresAt === undefined) return;
    const expiresAt = record.expiresAt + MARGIN * 1000;
    // By the moment, not by what is left until then: that would be told by another clock.
    const { createdAt, updatedAt } = seen;
    await this.#storage.commit(entry, [], {
      condition,
      carried: { createdAt, updatedAt, expiresAt, ownTtl: undefined },
    });
  }

  #entries({ scope, id }: RecordKey, fields: Fields): { key: RecordKey; field: string; token: Token }[] {
    return this.fields.flatMap((field) => {
      const token = fields.get(fieldName(field));
      if (token === undefined) return [];
      return [{ key: { space: INDEX, scope: [...scope, field], id: `${digest(token)}/${id}` }, field, token }];
    });
  }
}

/** The `ttl` of an entry whose row lives so long. */
function lifeOf(ttl: number | undefined): number | 'none' {
  return ttl === undefined ? 'none' : Math.min(ttl + MARGIN, MAX_TTL);
}

/** Of a digest. */
const DIGITS = 32;

/** Values may be long, names may not. */
function digest(token: Token): string {
  return createHash('sha256').update(token).digest('hex').slice(0, DIGITS);
}
