import { checkObject } from '../check-object.js';
import { type Clock, systemClock } from '../clock.js';
import { AgentUpError } from '../errors.js';
import type { Token } from '../json.js';
import { checkBegin, checkCommit, checkKey, checkTtl, meets } from './changes.js';
import { checkList, checkRead, checkReadLog, checkSweep } from './check-queries.js';
import { encodeName, keyText, type RecordKey } from './keys.js';
import { freeLease, holdsLease, type Lease, leaseLost, passLease, settleLease, takeLease } from './lease.js';
import { logRange, type Outcome, outcomeOf, type RecordAttributes } from './outcome.js';
import type {
  BeginOptions,
  Begun,
  Change,
  CommitOptions,
  Committed,
  Idempotency,
  ListQuery,
  LogOptions,
  LogPage,
  ReadOptions,
  RecordInfo,
  Refused,
  StateRecord,
  StateStorage,
  SweepQuery,
} from './state-storage.js';

/** A record as an embedded store hands it out; a row of it may know more. */
export interface StoredRecord extends RecordAttributes {
  readonly fields: ReadonlyMap<string, Token>;
}

/**
 * A store in this process that can do several things as one step: a Map, SQLite, LMDB. `EmbeddedStorage` makes a
 * `StateStorage` of it. Arguments have been checked when they come here. `text` is `keyText(key)`, `now` the one moment
 * of the step. Tokens, fields and idempotency keys are any text and come back as they were; names of answers are made
 * of key texts and blanks. Failures are `AgentUpError`s, as the contract wants them.
 */
export interface EmbeddedStore<R extends StoredRecord = StoredRecord> {
  /** For messages. */
  readonly backend: string;
  /**
   * Runs `work` as one step: whole or not at all, and what it reads stays as it is until it has ended. Steps that
   * write exclude each other from their beginning, those of other processes too. All calls below come inside one.
   */
  step<T>(mode: 'read' | 'write', work: () => T): T;
  /** The record, `undefined` when it has expired. */
  find(text: string, now: number, key: RecordKey): R | undefined;
  /** What `Idempotency` left with the record under this key. */
  reply(record: R, key: string): Token | undefined;
  /**
   * All of them, oldest first. A store that has this also does in `write` what `outcome.replies` says; one that has not
   * works, but its replies do not move with its records (`StateStorage.carriesReplies`).
   */
  replies?(record: R): Iterable<readonly [key: string, reply: Token]>;
  /** Entries of the log from position `start` to before `end`. */
  entries(record: R, start: number, end: number): Token[];
  /**
   * Writes what has become of a record; without `before` it begins anew, and one that has expired leaves nothing in it.
   * What nobody asks for any more is to be removed over time, a little with every write: expired records, and likewise
   * ended leases and old answers in the calls that keep those.
   */
  write(key: RecordKey, text: string, before: R | undefined, outcome: Outcome, idempotency?: Idempotency): void;
  remove(record: R): void;
  lease(text: string): Lease | undefined;
  keepLease(text: string, lease: Lease, now: number): void;
  /** What was kept under this name after the moment `since`, which is a minute ago. */
  answer(name: string, since: number): Committed | undefined;
  keepAnswer(name: string, answer: Committed, now: number): void;
  /** What the query asks for, in the order of the key texts. Expired ones and other prefixes among it do no harm. */
  list(query: ListQuery): Iterable<RecordInfo>;
  /** Names of spaces, those that hold records among them, in any order. */
  spaces(): Iterable<string>;
  /** Removes what the query asks for and no lease is held on, and tells how many of it had not expired. */
  sweep(query: SweepQuery, now: number): number;
  /** Called once. */
  close(): void;
}

export interface EmbeddedStorageOptions {
  /** Default time to live in seconds; never when absent. */
  ttl?: number | undefined;
  clock?: Clock | undefined;
}

/** How long an answer is kept for a commit that is sent again, in milliseconds. */
const ANSWERS_MS = 60_000;

/** The storage contract over a store in this process. */
export class EmbeddedStorage<R extends StoredRecord = StoredRecord> implements StateStorage {
  readonly backend: string;
  readonly ttl: number | undefined;
  readonly carriesReplies: boolean;
  readonly #store: EmbeddedStore<R>;
  readonly #clock: Clock;
  #closed = false;

  /** @throws INVALID_ARGUMENT, TTL_INVALID */
  constructor(store: EmbeddedStore<R>, options: EmbeddedStorageOptions = {}) {
    const of = new.target.name || 'EmbeddedStorage';
    if (typeof (store as Partial<EmbeddedStore<R>> | undefined)?.step !== 'function') throw noStore(of);
    checkObject(options, of, `new ${of}(store, { ttl })`);
    const { ttl, clock = systemClock } = options;
    if (ttl !== undefined) checkTtl(ttl);
    this.backend = store.backend;
    this.ttl = ttl;
    this.carriesReplies = store.replies !== undefined;
    this.#store = store;
    this.#clock = clock;
  }

  async begin(key: RecordKey, options: BeginOptions): Promise<Begun> {
    this.#open();
    checkBegin(key, options);
    const text = keyText(key);
    const store = this.#store;
    return store.step('write', () => {
      const now = this.#clock.now();
      const lease = store.lease(text) ?? freeLease();
      const retryAfterMs = takeLease(lease, options.token, options.leaseMs, now);
      store.keepLease(text, lease, now);
      if (retryAfterMs > 0) return { busy: true, retryAfterMs };
      return { busy: false, record: this.#copy(store.find(text, now, key), options) };
    });
  }

  async read(key: RecordKey, options: ReadOptions = {}): Promise<StateRecord | undefined> {
    this.#open();
    checkRead(key, options);
    return this.#store.step('read', () => {
      return this.#copy(this.#store.find(keyText(key), this.#clock.now(), key), options);
    });
  }

  async readLog(key: RecordKey, options: LogOptions = {}): Promise<LogPage> {
    this.#open();
    checkReadLog(key, options);
    return this.#store.step('read', () => {
      const record = this.#store.find(keyText(key), this.#clock.now(), key);
      if (!record) return { entries: [], start: 0, total: 0, dropped: 0 };
      const { start, end } = logRange(record, options);
      const entries = this.#store.entries(record, start, end);
      return { entries, start, total: record.logTotal, dropped: record.logDropped };
    });
  }

  async commit(key: RecordKey, changes: readonly Change[], options: CommitOptions = {}): Promise<Committed | Refused> {
    this.#open();
    checkCommit(key, changes, options);
    return this.#store.step('write', () => this.#commit(key, changes, options));
  }

  async delete(key: RecordKey): Promise<boolean> {
    this.#open();
    checkKey(key);
    return this.#store.step('write', () => {
      const record = this.#store.find(keyText(key), this.#clock.now(), key);
      if (record) this.#store.remove(record);
      return record !== undefined;
    });
  }

  async spaces(): Promise<string[]> {
    this.#open();
    return [...new Set(this.#store.step('read', () => [...this.#store.spaces()]))].sort();
  }

  async *list(query: ListQuery): AsyncIterable<RecordInfo> {
    this.#open();
    checkList(query);
    let left = query.limit ?? Number.POSITIVE_INFINITY;
    const after = query.after === undefined ? undefined : encodeName(query.after);
    for (const info of this.#store.step('read', () => this.#store.list(query))) {
      if (left === 0) return;
      this.#open();
      if (!info.key.id.startsWith(query.prefix ?? '')) continue;
      if (after !== undefined && encodeName(info.key.id) <= after) continue;
      if (info.expiresAt !== undefined && info.expiresAt <= this.#clock.now()) continue;
      const record = query.contents ? this.#recordOf(info.key) : undefined;
      if (query.contents && !record) continue;
      left--;
      if (!record) {
        yield info;
        continue;
      }
      const { key, owner, createdAt, updatedAt, expiresAt } = info;
      yield { key, owner, createdAt, updatedAt, expiresAt, record };
    }
  }

  async sweep(query: SweepQuery): Promise<number> {
    this.#open();
    checkSweep(query);
    return this.#store.step('write', () => this.#store.sweep(query, this.#clock.now()));
  }

  async ping(): Promise<void> {
    this.#open();
    this.#store.step('read', () => {});
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#store.close();
  }

  #open(): void {
    if (!this.#closed) return;
    throw new AgentUpError('STORAGE_CLOSED', `the ${this.backend} storage has been closed`, { backend: this.backend });
  }

  #recordOf(key: RecordKey): StateRecord | undefined {
    return this.#store.step('read', () => this.#copy(this.#store.find(keyText(key), this.#clock.now(), key), {}));
  }

  #commit(key: RecordKey, changes: readonly Change[], options: CommitOptions): Committed | Refused {
    const { lease: under, commitId, idempotency } = options;
    const store = this.#store;
    const text = keyText(key);
    const now = this.#clock.now();
    // No key text holds a blank.
    const name = commitId === undefined ? undefined : `${text} ${encodeName(commitId)}`;
    const sent = name === undefined ? undefined : store.answer(name, now - ANSWERS_MS);
    if (sent) return ownAnswer(sent);
    const lease = under && store.lease(text);
    if (under && !holdsLease(lease, under.token, now)) throw leaseLost(key);
    const before = store.find(text, now, key);
    const isKnown = idempotency && before && store.reply(before, idempotency.key) !== undefined;
    if (isKnown || !meets(before, options.condition)) {
      return { committed: false, record: this.#copy(before, { idempotencyKey: idempotency?.key }) };
    }
    const outcome = outcomeOf(before, changes, options, now);
    if (outcome.writes) store.write(key, text, before, outcome, idempotency);
    if (name !== undefined) store.keepAnswer(name, ownAnswer(outcome.answer), now);
    if (!under || !lease) return outcome.answer;
    settleLease(lease, under.keepMs, now);
    const passed = under.next && passLease(lease, under.next, now) ? under.next : undefined;
    store.keepLease(text, lease, now);
    return passed
      ? { ...outcome.answer, begun: { record: this.#copy(store.find(text, now, key), passed) } }
      : outcome.answer;
  }

  /** A private copy, with what was asked for. */
  #copy(record: R | undefined, { log = 0, fields, idempotencyKey, replies }: Wanted): StateRecord | undefined {
    if (!record) return undefined;
    const { version, owner, createdAt, updatedAt, expiresAt, ownTtl, logTotal, logDropped } = record;
    const copy = {
      fields: fields ? picked(record.fields, fields) : new Map(record.fields),
      log: log === 0 ? [] : this.#store.entries(record, Math.max(logDropped, logTotal - log), logTotal),
      logTotal,
      logDropped,
      version,
      owner,
      createdAt,
      updatedAt,
      expiresAt,
      ownTtl,
      reply: idempotencyKey === undefined ? undefined : this.#store.reply(record, idempotencyKey),
    };
    return replies && this.#store.replies ? { ...copy, replies: new Map(this.#store.replies(record)) } : copy;
  }
}

interface Wanted {
  readonly log?: number;
  readonly fields?: readonly string[];
  readonly idempotencyKey?: string | undefined;
  readonly replies?: boolean;
}

function picked(all: ReadonlyMap<string, Token>, names: readonly string[]): Map<string, Token> {
  const fields = new Map<string, Token>();
  for (const name of names) {
    const token = all.get(name);
    if (token !== undefined) fields.set(name, token);
  }
  return fields;
}

/** A copy, so that what the caller does to the answer and what is kept of it do not meet. */
function ownAnswer({ version, updatedAt, expiresAt, incremented, logTotal }: Committed): Committed {
  return { committed: true, version, updatedAt, expiresAt, incremented: new Map(incremented), logTotal };
}

function noStore(of: string): AgentUpError {
  return new AgentUpError('INVALID_ARGUMENT', `${of} needs a store: an object with step(), find(), write() and so on`, {
    argument: 'store',
    fix: 'write new EmbeddedStorage(store) with an EmbeddedStore of yours; in memory: new MemoryStorage()',
  });
}
