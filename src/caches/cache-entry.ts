import { setTimeout as delay } from 'node:timers/promises';
import { AgentUpError } from '../errors.js';
import { decode, encode, type Token } from '../json.js';
import type { Mutable } from '../mutable.js';
import { type OutputOf, type StandardSchema, validate } from '../standard-schema.js';
import { checkTtl, meets, shownValue } from '../storage/changes.js';
import type { RecordKey } from '../storage/keys.js';
import type { Change, CommitCondition, CommitOptions, Expiry, StateRecord } from '../storage/state-storage.js';
import { uniqueId } from '../unique-id.js';
import { checkField, type EntryKey } from './cache-keys.js';
import {
  type CacheParts,
  type Entry,
  expiryOf,
  type GetOptions,
  type SetOptions,
  type Ttl,
  type WriteOptions,
} from './cache-options.js';
import { EntryErrors } from './entry-errors.js';
import { conditionOf, OBJECT, type Replaced, setsOf, taggedAs, type Write, type Written } from './entry-write.js';
import { contentOf, fieldName, fieldsOf, isRow, sizeOf, TAG } from './row-fields.js';
import type { RowIndex } from './row-index.js';

/** How often a change is tried again when others write at the same time. */
const MAX_TRIES = 50;

/** What holds of every entry of a table. */
export interface EntryRules {
  readonly schema?: StandardSchema | undefined;
  /** Of an entry that is set, or made, without one. Default `none`. */
  readonly ttl?: number | 'none' | undefined;
  /** Where the entry lies now, in a table whose rows can be made void all at once. */
  readonly place?: (() => Promise<RecordKey>) | undefined;
  readonly index?: RowIndex | undefined;
}

/** One entry of a cache, whichever: all that the faces do is say which. Every call is one atomic step. */
export class CacheEntry {
  readonly key: EntryKey;
  readonly #parts: CacheParts;
  readonly #rules: EntryRules;
  readonly #errors: EntryErrors;

  /** @internal made by the caches */
  constructor(parts: CacheParts, key: EntryKey, rules: EntryRules = {}) {
    this.#parts = parts;
    this.key = key;
    this.#rules = rules;
    this.#errors = new EntryErrors(key);
  }

  /** The value, or `undefined` where there is none. @throws SCHEMA_INVALID */
  async get<S extends StandardSchema>(options: GetOptions<S> = {}): Promise<OutputOf<S> | undefined> {
    const record = await this.#parts.storage.read(await this.#place());
    return record && this.valueOf(record.fields, options.schema);
  }

  /** The value with its version and the seconds it has left. */
  async getEntry<S extends StandardSchema>(options: GetOptions<S> = {}): Promise<Entry<OutputOf<S>> | undefined> {
    const record = await this.#parts.storage.read(await this.#place());
    return record && this.entryOf(record, options.schema);
  }

  /** Replaces all of it; permanent unless `ttl` says otherwise. @returns its version @throws CONFLICT, SCHEMA_INVALID */
  async set(value: unknown, options: SetOptions = {}): Promise<string> {
    const { ttl, version, schema } = options;
    const condition = version === undefined ? undefined : taggedAs(version);
    const { result } = await this.replace(value, { ttl, schema, condition });
    if (result.written) return result.version;
    throw this.#errors.conflict('has changed since its version was read');
  }

  /** Replaces all of it where the condition holds. @internal */
  async replace(
    value: unknown,
    options: WriteOptions & { schema?: StandardSchema | undefined; condition?: CommitCondition | undefined } = {},
    place?: RecordKey,
  ): Promise<Replaced> {
    const { ttl = this.#rules.ttl ?? 'none', condition, schema } = options;
    const fields = this.#fieldsOf(value);
    const changes: Change[] = [{ op: 'clearFields' }, ...setsOf(fields)];
    // Not the value, which its owner may change while this goes on.
    const after = (): unknown => contentOf(fields);
    const result = await this.#write({ changes, after, whole: true, ttl, condition, schema }, place);
    return { result, fields };
  }

  /** Sets these fields and keeps the others; makes the entry where there is none. @returns its version */
  async patch(fields: Readonly<Record<string, unknown>>, options: WriteOptions = {}): Promise<string> {
    if (!isRow(fields)) throw this.#errors.invalid('fields', 'a patch is an object');
    const given = this.#fieldsOf(fields);
    return this.#writeFields(setsOf(given), (row) => ({ ...row, ...(contentOf(given) as object) }), options.ttl);
  }

  /** @returns whether there was one */
  async delete(): Promise<boolean> {
    const place = await this.#place();
    const { index } = this.#rules;
    const record = index && (await this.#parts.storage.read(place));
    const deleted = await this.#parts.storage.delete(place);
    if (record) await index?.leave(place, record.fields);
    return deleted;
  }

  async exists(): Promise<boolean> {
    return (await this.#parts.storage.read(await this.#place(), { fields: [] })) !== undefined;
  }

  /** One field; `undefined` where there is no such field or entry. */
  async getField<S extends StandardSchema>(
    field: string,
    { schema }: GetOptions<S> = {},
  ): Promise<OutputOf<S> | undefined> {
    checkField(field);
    const record = await this.#parts.storage.read(await this.#place(), { fields: [fieldName(field)] });
    const token = record?.fields.get(fieldName(field));
    if (token === undefined) return undefined;
    const value = decode(token);
    return (schema ? await validate(schema, value, `${this.key.shown} ${field}`) : value) as OutputOf<S>;
  }

  /** @returns the version @throws WRONG_TYPE where the entry is no object */
  async setField(field: string, value: unknown, options: WriteOptions = {}): Promise<string> {
    checkField(field);
    const token = this.#encode(value, field);
    const changes: Change[] = [{ op: 'set', field: fieldName(field), value: token }];
    return this.#writeFields(changes, (row) => ({ ...row, [field]: decode(token) }), options.ttl);
  }

  /** Adds a whole number; a missing field counts as 0. @returns the sum @throws WRONG_TYPE, INTEGER_OVERFLOW */
  async incrementField(field: string, by = 1, options: WriteOptions = {}): Promise<number> {
    checkField(field);
    if (!Number.isSafeInteger(by))
      throw this.#errors.invalid('by', `by is ${shownValue(by)}; only whole numbers are added`);
    const add = (row: Record<string, unknown>): Record<string, unknown> => {
      const before = Object.hasOwn(row, field) ? row[field] : 0;
      if (typeof before !== 'number' || !Number.isSafeInteger(before))
        throw this.#errors.wrongType(field, 'an integer');
      return { ...row, [field]: before + by };
    };
    const changes: Change[] = [{ op: 'increment', field: fieldName(field), by }];
    const result = await this.#write({ changes, after: this.#ofRow(add), whole: false, ttl: options.ttl });
    if (!result.written) throw this.#errors.wrongType(undefined, 'an object with fields');
    return result.answer.incremented.get(fieldName(field)) as number;
  }

  /** Appends to a list; a missing field becomes one. @returns the version @throws WRONG_TYPE */
  async appendToList(field: string, item: unknown, options: WriteOptions = {}): Promise<string> {
    checkField(field);
    const token = this.#encode(item, field);
    const append = (row: Record<string, unknown>): Record<string, unknown> => {
      const before = Object.hasOwn(row, field) ? row[field] : [];
      if (!Array.isArray(before)) throw this.#errors.wrongType(field, 'a list');
      return { ...row, [field]: [...before, decode(token)] };
    };
    const changes: Change[] = [{ op: 'append', field: fieldName(field), item: token }];
    return this.#writeFields(changes, append, options.ttl);
  }

  /** Seconds until it expires; `null` never; `undefined` where there is none. */
  async getTtl(): Promise<number | null | undefined> {
    const record = await this.#parts.storage.read(await this.#place(), { fields: [] });
    return record && this.#secondsOf(record);
  }

  /** Without `ttl`: the default of its table. @returns whether there is such an entry @throws TTL_INVALID, CONFLICT */
  async setTtl(ttl: number | 'none' | undefined = this.#rules.ttl): Promise<boolean> {
    if (ttl === undefined) {
      throw new AgentUpError('TTL_INVALID', `${this.key.shown}: no ttl is given, and its table has no default`, {
        argument: 'ttl',
      });
    }
    checkTtl(ttl);
    const { index } = this.#rules;
    const after = ttl === 'none' ? undefined : ttl;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const place = await this.#place();
      const record = index && (await this.#parts.storage.read(place));
      if (index && !record) return false;
      if (record) await index?.enter(place, record.fields, record.fields, after);
      const condition = record ? conditionOf(record) : { exists: true };
      const options = { expiry: { set: ttl }, condition, commitId: uniqueId() };
      const { committed } = await this.#parts.storage.commit(place, [], options);
      if (record && committed) await this.#lifeChanged(place, record, record.fields, after);
      if (committed || !index) return committed;
      await pause(tries);
    }
    throw this.#errors.conflict('kept changing while its time to live was set');
  }

  /**
   * Replaces the value by what `change` makes of it, and returns that as a read would. With a schema, `change` is given
   * what is stored, which fits the schema, and answers with the like: its input, not its output. It is called again
   * when somebody else wrote meanwhile, so it must have no effects of its own.
   * @throws CONFLICT when others keep writing; SCHEMA_INVALID
   */
  async update<T = unknown, R = T>(
    change: (value: T | undefined) => T | Promise<T>,
    { ttl = 'keep' }: WriteOptions = {},
  ): Promise<R> {
    expiryOf(ttl, 'keep');
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const place = await this.#place();
      const record = await this.#parts.storage.read(place);
      if (record) await this.valueOf(record.fields);
      const value = await change(record && (contentOf(record.fields) as T));
      const life = record ? ttl : ttl === 'keep' ? undefined : ttl;
      const { result, fields } = await this.replace(value, { ttl: life, condition: conditionOf(record) }, place);
      if (result.written) return (await this.valueOf(fields)) as R;
      await pause(tries);
    }
    throw this.#errors.conflict('kept changing while it was updated');
  }

  /**
   * The value, or what `load` makes of it, which is kept unless somebody else set it meanwhile. Callers of this process
   * that want it at the same time share one `load`. With a schema, what is loaded is its input and the answer its
   * output, loaded or read. In a versioned table, what was loaded before a bump is not kept.
   */
  async getOrLoad<T = unknown, R = T>(load: () => T | Promise<T>, options: WriteOptions = {}): Promise<R> {
    expiryOf(options.ttl, 'keep');
    const place = await this.#place();
    const record = await this.#parts.storage.read(place);
    // Shared is what is stored, so that each who asks has a value of his own, by a schema of his own.
    const fields = record?.fields ?? (await this.#parts.loads.once(place, () => this.#load(load, options, place)));
    return (await this.valueOf(fields)) as R;
  }

  /** A record of this entry as its users see it. @throws SCHEMA_INVALID @internal */
  async entryOf<S extends StandardSchema>(record: StateRecord, schema?: S): Promise<Entry<OutputOf<S>>> {
    const tag = record.fields.get(TAG);
    return {
      value: await this.valueOf(record.fields, schema),
      version: tag === undefined ? '' : decode<string>(tag),
      ttl: this.#secondsOf(record),
    };
  }

  /** What these fields make up, as a read would return it. @throws SCHEMA_INVALID @internal */
  async valueOf<S extends StandardSchema>(fields: ReadonlyMap<string, Token>, given?: S): Promise<OutputOf<S>> {
    const schema = given ?? this.#rules.schema;
    const value = contentOf(fields);
    return (schema ? await validate(schema, value, this.key.shown) : value) as OutputOf<S>;
  }

  #place(): RecordKey | Promise<RecordKey> {
    return this.#rules.place?.() ?? this.key.record;
  }

  /** @returns the fields of what was loaded, or of what somebody set meanwhile */
  async #load(load: () => unknown, { ttl }: WriteOptions, place: RecordKey): Promise<ReadonlyMap<string, Token>> {
    const { result, fields } = await this.replace(await load(), { ttl, condition: { exists: false } }, place);
    return (!result.written && result.record?.fields) || fields;
  }

  #secondsOf({ expiresAt }: StateRecord): number | null {
    return expiresAt === undefined ? null : Math.max(0, Math.ceil((expiresAt - this.#parts.now()) / 1000));
  }

  #ofRow(change: (row: Record<string, unknown>) => unknown): (before: unknown) => unknown {
    return (before) => {
      if (before === undefined) return change({});
      if (!isRow(before)) throw this.#errors.wrongType(undefined, 'an object with fields');
      return change(before);
    };
  }

  async #writeFields(
    changes: Change[],
    after: (row: Record<string, unknown>) => Record<string, unknown>,
    ttl: Ttl | undefined,
  ): Promise<string> {
    const result = await this.#write({ changes, after: this.#ofRow(after), whole: false, ttl });
    if (result.written) return result.version;
    throw this.#errors.wrongType(undefined, 'an object with fields');
  }

  /**
   * Every write comes through here. What must know the whole entry, a schema of parts or an index, reads it first and
   * writes only if nobody else wrote meanwhile; anything else is one blind step.
   */
  async #write(write: Write, given?: RecordKey): Promise<Written> {
    const { changes, after, whole, ttl, condition } = write;
    const { index } = this.#rules;
    const schema = write.schema ?? this.#rules.schema;
    expiryOf(ttl, 'keep');
    if (whole && schema) await validate(schema, after(undefined), this.key.shown);
    if (!index && (whole || !schema)) {
      const place = given ?? (await this.#place());
      if (whole || ttl !== undefined || (this.#rules.ttl ?? 'none') === 'none') {
        return this.#commit(place, changes, whole ? condition : OBJECT, expiryOf(ttl, 'keep'));
      }
      return this.#writeInTable(place, changes, this.#rules.ttl);
    }
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const place = given ?? (await this.#place());
      const record = await this.#parts.storage.read(place);
      if (!meets(record, condition)) return { written: false, record };
      const value = after(record && contentOf(record.fields));
      if (!whole && schema) await validate(schema, value, this.key.shown);
      const life = ttl === undefined && !record ? (this.#rules.ttl ?? 'none') : ttl;
      const fields = index ? fieldsOf(value) : NO_FIELDS;
      const left = this.#secondsAfter(life, record);
      await index?.enter(place, record?.fields, fields, left);
      const result = await this.#commit(place, changes, conditionOf(record), expiryOf(life, 'keep'));
      if (result.written) {
        if (record) await this.#lifeChanged(place, record, fields, left);
        else await index?.confirm(place, undefined, fields, { before: left, after: left });
        return result;
      }
      await pause(tries);
    }
    throw this.#errors.conflict('kept changing while it was written');
  }

  /** Writes fields of a row whose life stays, and which gets that of its table where it is made by this. */
  async #writeInTable(place: RecordKey, changes: readonly Change[], ttl: Ttl | undefined): Promise<Written> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const there = await this.#commit(place, changes, { ...OBJECT, exists: true }, {});
      if (there.written || there.record) return there;
      const made = await this.#commit(place, changes, { exists: false }, expiryOf(ttl, 'none'));
      if (made.written) return made;
    }
    throw this.#errors.conflict('kept coming and going while it was written');
  }

  /** Lets the index follow a row that was written in the place of this record. */
  async #lifeChanged(place: RecordKey, record: StateRecord, fields: ReadonlyMap<string, Token>, after?: number) {
    const { index } = this.#rules;
    const before = this.#secondsOf(record) ?? undefined;
    const isShorter = (after ?? Number.POSITIVE_INFINITY) < (before ?? Number.POSITIVE_INFINITY);
    // Never the same entries: what is confirmed is new, or lives longer.
    await Promise.all([
      index?.confirm(place, record.fields, fields, { before, after }),
      index?.leave(place, record.fields, isShorter ? undefined : fields),
    ]);
  }

  #secondsAfter(ttl: Ttl | undefined, record: StateRecord | undefined): number | undefined {
    if (typeof ttl === 'number') return ttl;
    return ttl === 'none' || !record ? undefined : (this.#secondsOf(record) ?? undefined);
  }

  async #commit(
    place: RecordKey,
    changes: readonly Change[],
    condition: CommitCondition | undefined,
    expiry: { expiry?: Expiry },
  ): Promise<Written> {
    const version = uniqueId();
    const tagged: Change[] = [...changes, { op: 'set', field: TAG, value: encode(version) }];
    if (this.key.owner !== undefined) tagged.push({ op: 'owner', owner: this.key.owner });
    try {
      const options: Mutable<CommitOptions> = { commitId: version };
      if (condition) options.condition = condition;
      if (expiry.expiry) options.expiry = expiry.expiry;
      const answer = await this.#parts.storage.commit(place, tagged, options);
      return answer.committed ? { written: true, version, answer } : { written: false, record: answer.record };
    } catch (error) {
      throw this.#errors.of(error);
    }
  }

  #fieldsOf(value: unknown): Map<string, Token> {
    let fields: Map<string, Token>;
    try {
      fields = fieldsOf(value);
    } catch (error) {
      throw this.#errors.of(error);
    }
    this.#weigh(sizeOf(fields));
    return fields;
  }

  #weigh(size: number): void {
    const { logger, warnBytes } = this.#parts;
    if (size <= warnBytes) return;
    logger.warn({ size }, `the cache entry ${this.key.shown} is given ${size} bytes; store ids, not blobs`);
  }

  #encode(value: unknown, field: string): Token {
    let token: Token;
    try {
      token = encode(value);
    } catch (error) {
      throw this.#errors.of(error, field);
    }
    this.#weigh(Buffer.byteLength(token));
    return token;
  }
}

const NO_FIELDS: ReadonlyMap<string, Token> = new Map();

function pause(tries: number): Promise<void> {
  return delay(Math.random() * Math.min(2 ** tries, 50));
}
