import type { Token } from '../json.js';
import type { RecordKey } from './keys.js';

/**
 * The storage contract. Whoever adds a backend reads this file and runs `storageConformance`
 * (`agentup/testing`); everything above, conversations, caches, tasks, is written once against it.
 *
 * A record is a set of fields (name → token), an append-only log of tokens, and a few attributes. Tokens are
 * JSON texts made by `encode`: a backend stores and returns them byte for byte and looks inside only to add to an
 * integer and to append to a list. Names, ids and owners may hold any text but lone surrogates.
 *
 * What must hold:
 * - `begin` and `commit` are one atomic step each, towards other calls, other processes, and crashes: a commit
 *   applies whole or not at all, and once acknowledged it survives the death of the process.
 * - Everything is checked before the first write. A call that throws has written nothing, except that a
 *   `STORAGE_UNAVAILABLE` from `commit` leaves open whether the commit happened; the same commit may then be sent
 *   again with the same `commitId` and is applied at most once.
 * - An expired record is absent everywhere: `begin`, `read`, `commit` (a fresh record begins), `list`, `delete`.
 * - Failures are `AgentUpError`s: `STORAGE_UNAVAILABLE` (cannot be reached, disk full; bounded in time),
 *   `STORAGE_FAILED` (answered, but with an error), `RECORD_CORRUPT`, `STORAGE_CLOSED`.
 */
export interface StateStorage {
  /** `memory`, `file`, `valkey`, or a third party's name; for messages. */
  readonly backend: string;

  /**
   * Default time to live of conversations kept here, in seconds; `undefined` means they never expire. Information for
   * those above, who pass it as `expiry`; a commit without one does not use it.
   */
  readonly ttl?: number | undefined;

  /** Knows `ReadOptions.replies` and `Carried.replies`. Without it all else works; a migration leaves replies behind. */
  readonly carriesReplies?: boolean | undefined;

  /**
   * Takes the lease of a record, existing or not, and returns its snapshot. Never waits: when somebody else holds
   * the lease the answer is `busy`, and the caller asks again with the same token. The first one refused holds a
   * reservation until it asks again (or for `RESERVATION_MS`), during which a new token is refused too, so that
   * nobody who keeps asking starves. Asking again with the token that holds the lease renews it.
   */
  begin(key: RecordKey, options: BeginOptions): Promise<Begun>;

  /** A private copy of the record, or `undefined` where there is none. */
  read(key: RecordKey, options?: ReadOptions): Promise<StateRecord | undefined>;

  /** A stretch of the log, oldest first. A record that does not exist has an empty log. */
  readLog(key: RecordKey, options?: LogOptions): Promise<LogPage>;

  /**
   * Applies changes in order, creating the record where it is missing. Every commit that writes raises the version,
   * also when all stays as it was. An empty list without expiry and idempotency key creates and touches nothing: it
   * asks its condition, and renews or releases the lease. A commit that is refused or fails leaves the lease as it is.
   * @throws LEASE_LOST when `lease` is given and its token is not the one that holds the record's lease now.
   * @throws WRONG_TYPE, INTEGER_OVERFLOW, LIMIT_EXCEEDED, TTL_INVALID, INVALID_ARGUMENT
   */
  commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions): Promise<Committed | Refused>;

  /** Removes the record with its log. A lease on it stays; its holder's commit starts the record anew. */
  delete(key: RecordKey): Promise<boolean>;

  /**
   * Keeps nothing of what a record held before and holds no more, when it returns. Only for a backend that would: files
   * whose older lines stay for a while.
   */
  scrub?(key: RecordKey): Promise<void>;

  /** Records of a space, from an index, each once, none expired. Order inside one scope: that of `encodeName(id)`. */
  list(query: ListQuery): AsyncIterable<RecordInfo>;

  /**
   * Deletes the records last written before `updatedBefore` and returns how many. Costs what it deletes. A record
   * written in the meantime, or whose lease is held, stays.
   */
  sweep(query: SweepQuery): Promise<number>;

  /** The spaces that hold records, sorted; also some that have held records once. From an index, like `list`. */
  spaces(): Promise<string[]>;

  /** Proves that the backend answers. @throws STORAGE_UNAVAILABLE */
  ping(): Promise<void>;

  /** Ends timers, connections and locks. Idempotent; later calls fail with `STORAGE_CLOSED`. */
  close(): Promise<void>;
}

/** How long a refused `begin` keeps its place without asking again, in milliseconds. */
export const RESERVATION_MS = 200;

/** Stands for a `reply` of which no more than the fact is known. */
export const REPLY_NOT_KEPT: Token = '{"notKept":true}';

export interface BeginOptions {
  /** Identifies the one who asks; unguessable, new for every turn. */
  readonly token: string;
  /** The lease ends by itself after this many milliseconds without a renewal. */
  readonly leaseMs: number;
  /** How many of the newest log entries the snapshot holds. Default 0. */
  readonly log?: number;
  /** Asks for the `reply` that a commit left under this key. */
  readonly idempotencyKey?: string;
}

export type Begun =
  | { readonly busy: false; readonly record: StateRecord | undefined }
  /** `retryAfterMs`: when the present lease ends if it is not renewed, or the place that another has reserved. */
  | { readonly busy: true; readonly retryAfterMs: number };

export interface ReadOptions {
  /** How many of the newest log entries to bring. Default 0. */
  readonly log?: number;
  /** Only these fields; all when absent. */
  readonly fields?: readonly string[];
  /** Asks for the `reply` that a commit left under this key. */
  readonly idempotencyKey?: string;
  /** Brings all `replies`. Default false. */
  readonly replies?: boolean;
}

/** Positions count every entry ever logged from 0 on; they do not move when a cap drops old entries. */
export interface LogOptions {
  /** At most this many, the newest ones before `before`. Default: all. */
  readonly limit?: number;
  /** Only entries at positions below this one. Default: the end. */
  readonly before?: number;
}

export interface LogPage {
  /** Oldest first. */
  readonly entries: Token[];
  /** Position of the first of `entries`. */
  readonly start: number;
  /** Entries ever logged since the log began or was cleared; `total - dropped` are kept. */
  readonly total: number;
  /** Entries that a cap has dropped. */
  readonly dropped: number;
}

export interface StateRecord {
  readonly fields: Map<string, Token>;
  /** The newest entries asked for, oldest first. */
  readonly log: Token[];
  readonly logTotal: number;
  readonly logDropped: number;
  /** Grows by one with every commit that changes something; a record that is deleted and made again may repeat. */
  readonly version: number;
  readonly owner: string | undefined;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly updatedAt: number;
  /** Epoch milliseconds; `undefined` never. */
  readonly expiresAt: number | undefined;
  /** The record's own time to live in seconds, from an expiry `set`. */
  readonly ownTtl?: number | 'none' | undefined;
  /** What a commit left under the idempotency key that was asked for; absent where none did, or it is forgotten. */
  readonly reply?: Token | undefined;
  /** Where a storage that `carriesReplies` was asked for them: all that are kept, by idempotency key, oldest first. */
  readonly replies?: ReadonlyMap<string, Token> | undefined;
}

export type Change =
  | { readonly op: 'set'; readonly field: string; readonly value: Token }
  | { readonly op: 'remove'; readonly field: string }
  /** Adds to an integer; a missing field counts as 0. WRONG_TYPE on anything else, INTEGER_OVERFLOW past 2^53−1. */
  | { readonly op: 'increment'; readonly field: string; readonly by: number }
  /** Appends to a list; a missing field counts as `[]`. WRONG_TYPE on anything else. */
  | { readonly op: 'append'; readonly field: string; readonly item: Token }
  | { readonly op: 'log'; readonly entry: Token }
  | { readonly op: 'clearLog' }
  /** Removes every field; keeps log and attributes. */
  | { readonly op: 'clearFields' }
  /** Sets the owner (`undefined` removes it). */
  | { readonly op: 'owner'; readonly owner: string | undefined }
  /** Creates the record, or marks it as written, without changing anything else. */
  | { readonly op: 'touch' };

export interface CommitOptions {
  /**
   * Commits under this lease. Without `keepMs` the commit ends the lease, with it the lease is renewed for so many
   * milliseconds. Without `lease` the changes apply whoever holds it.
   */
  readonly lease?: CommitLease;
  /** Nothing is written, and the answer is `Refused`, unless the record is like this. */
  readonly condition?: CommitCondition;
  /**
   * What happens to the expiry. Absent: it stays as it is (a new record never expires).
   * `set`: expires so many seconds from now, and remembers that as the record's own ttl.
   * `renew`: so many seconds from now, unless the record has a ttl of its own from a `set`: then that one.
   */
  readonly expiry?: Expiry;
  /** For a record brought from another storage: what it was there, instead of what this commit would make of it. */
  readonly carried?: Carried;
  /** Keeps only the newest entries of the log; the dropped ones are counted. */
  readonly logMax?: number;
  /** Makes a piece of work count once, however often it is asked for: see `Idempotency`. */
  readonly idempotency?: Idempotency;
  /** LIMIT_EXCEEDED when the record would have more fields than this, and more than it has now. */
  readonly maxFields?: number;
  /**
   * Makes sending the same commit again harmless: an id that this record saw in the last minute is not applied twice
   * but answered as before, whatever has become of lease and condition. It may be forgotten with its record, once
   * its sender has committed under a later lease, and where no answer is ever lost on its way, after some hundred
   * others.
   */
  readonly commitId?: string;
}

export interface CommitLease {
  readonly token: string;
  readonly keepMs?: number;
  /**
   * The turn that the sender wants to begin next. Where the commit ends the lease and nobody else waits for it, it may
   * go to this token in the same step, as if it had asked with `begin`; the answer has `begun` then. A storage need not
   * do that: without `begun` the sender asks by itself, as it does where the answer was lost.
   */
  readonly next?: BeginOptions | undefined;
}

/**
 * Attributes that a record brings along from another storage, so that moving it makes it no younger. They count
 * instead of `expiry`, which must not be given as well. One whose `expiresAt` has passed is gone at once.
 */
export interface Carried {
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly expiresAt: number | undefined;
  readonly ownTtl: number | 'none' | undefined;
  /** Positions of the log begin here. More than 0 only together with `clearLog` and without `log`. Default 0. */
  readonly logDropped?: number;
  /**
   * The replies that the record keeps from now on, by idempotency key, oldest first, instead of those it has; the next
   * `Idempotency` says how many stay. Not together with one. Absent: they stay as they are.
   */
  readonly replies?: ReadonlyMap<string, Token> | undefined;
}

/**
 * Remembers with the record, in the same step, that the work named by `key` was done, and what came of it. Where the
 * record knows the key already nothing is written, and the answer is `Refused` with the `reply` in its record.
 * Unlike a `commitId`, which makes resending one commit harmless for a minute, a key is for work that is begun anew.
 */
export interface Idempotency {
  readonly key: string;
  readonly reply: Token;
  /** The record remembers the newest so many keys, from 1 on; they go with it, and are no field of it. */
  readonly keep: number;
}

export type Expiry = { readonly set: number | 'none' } | { readonly renew: number | 'none' };

/** All given parts must hold. */
export interface CommitCondition {
  /** The record is there, or is not. */
  readonly exists?: boolean;
  /** 0: the record is absent. */
  readonly version?: number;
  /** The record is this owner's; `null`: nobody's, or absent. A version does not tell: that of a new record begins anew. */
  readonly owner?: string | null;
  /** These fields hold exactly these tokens; `undefined`: are absent. */
  readonly fields?: ReadonlyMap<string, Token | undefined>;
}

export interface Committed {
  readonly committed: true;
  readonly version: number;
  /** Epoch milliseconds, by the storage's clock. */
  readonly updatedAt: number;
  readonly expiresAt: number | undefined;
  /** The sums of the fields that were incremented, also where a later change of the same commit overwrote one. */
  readonly incremented: Map<string, number>;
  readonly logTotal: number;
  /** The lease went to `lease.next`; the record as its turn finds it. */
  readonly begun?: { readonly record: StateRecord | undefined } | undefined;
}

/** The condition did not hold, or the idempotency key is known. `record`: what was there instead, all fields, no log. */
export interface Refused {
  readonly committed: false;
  readonly record: StateRecord | undefined;
}

export interface ListQuery {
  readonly space: string;
  /** One container; all of the space when absent. */
  readonly scope?: readonly string[];
  /** Only records whose id begins with this text. */
  readonly prefix?: string;
  /** Only records that come after this id in the order of `scope`, which must be given: where an earlier list ended. */
  readonly after?: string;
  readonly owner?: string;
  /** Only records last written before this moment, epoch milliseconds. */
  readonly updatedBefore?: number;
  /** At most so many. */
  readonly limit?: number;
  /** Brings each record with all its fields, without its log: as many as fit in a page in one step. */
  readonly contents?: boolean;
}

export interface SweepQuery {
  readonly space: string;
  readonly scope?: readonly string[];
  readonly updatedBefore: number;
}

export interface RecordInfo {
  readonly key: RecordKey;
  /** Where `contents` was asked for. */
  readonly record?: StateRecord | undefined;
  readonly owner: string | undefined;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly expiresAt: number | undefined;
}
