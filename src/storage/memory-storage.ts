import { type Clock, systemClock } from '../clock.js';
import { AgentUpError } from '../errors.js';
import type { Token } from '../json.js';
import { checkBegin, checkCommit, checkKey, checkTtl, meets, plan, writes } from './changes.js';
import { checkList, checkRead, checkReadLog, checkSweep } from './check-queries.js';
import { containerText, keyText, type RecordKey } from './keys.js';
import { MemoryLeases } from './memory-leases.js';
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

export interface MemoryStorageOptions {
  /** Default time to live in seconds; never when absent. */
  ttl?: number;
  clock?: Clock;
}

interface Body {
  readonly key: RecordKey;
  readonly text: string;
  readonly fields: Map<string, Token>;
  /** The kept entries begin at `logHead`; see `cap`. */
  log: Token[];
  logHead: number;
  logDropped: number;
  version: number;
  owner: string | undefined;
  createdAt: number;
  updatedAt: number;
  expiresAt: number | undefined;
  /** From an expiry `set`: wins over a later `renew`. */
  ownTtl: number | 'none' | undefined;
  /** By idempotency key, oldest first. */
  replies: Map<string, Token> | undefined;
  /** Those with an id, of the last minute, oldest first. */
  readonly recent: Recent[];
}

/** A commit that may be sent again, and what it was answered. */
interface Recent {
  readonly id: string;
  readonly at: number;
  readonly answer: Committed;
}

/** For how long a commit id is remembered, in milliseconds; and how many of a record: no answer is lost on its way. */
const RECENT_MS = 60_000;
const MAX_RECENT = 8;

/** Who holds the lease of a record, and who is next. A moment that has passed means nobody. */
interface Space {
  /** In the order of their last write, so that the stale ones come first. */
  readonly bodies: Map<string, Body>;
  readonly byContainer: Map<string, Set<string>>;
  readonly byOwner: Map<string, Set<string>>;
}

/** Keeps records in this process; they end with it. For development, tests, and data that may be lost. */
export class MemoryStorage implements StateStorage {
  readonly backend = 'memory';
  readonly ttl: number | undefined;
  readonly #clock: Clock;
  readonly #spaces = new Map<string, Space>();
  readonly #leases = new MemoryLeases();
  #closed = false;
  #size = 0;
  #writesUntilPurge = 256;

  constructor(options: MemoryStorageOptions = {}) {
    if (options.ttl !== undefined) checkTtl(options.ttl);
    this.ttl = options.ttl;
    this.#clock = options.clock ?? systemClock;
  }

  async begin(key: RecordKey, options: BeginOptions): Promise<Begun> {
    this.#open();
    checkBegin(key, options);
    const text = keyText(key);
    const now = this.#clock.now();
    const wait = this.#leases.take(text, options.token, options.leaseMs, now);
    if (wait > 0) return { busy: true, retryAfterMs: wait };
    const body = this.#find(key.space, text, now);
    return { busy: false, record: body && copy(body, options) };
  }

  async read(key: RecordKey, options: ReadOptions = {}): Promise<StateRecord | undefined> {
    this.#open();
    checkRead(key, options);
    const body = this.#find(key.space, keyText(key), this.#clock.now());
    return body && copy(body, options);
  }

  async readLog(key: RecordKey, options: LogOptions = {}): Promise<LogPage> {
    this.#open();
    checkReadLog(key, options);
    const body = this.#find(key.space, keyText(key), this.#clock.now());
    if (!body) return { entries: [], start: 0, total: 0, dropped: 0 };
    const { log, logHead, logDropped: dropped } = body;
    const total = totalOf(body);
    const end = Math.max(dropped, Math.min(total, options.before ?? total));
    const start = Math.max(dropped, end - (options.limit ?? end));
    const at = logHead - dropped;
    return { entries: log.slice(at + start, at + end), start, total, dropped };
  }

  async commit(key: RecordKey, changes: readonly Change[], options: CommitOptions = {}): Promise<Committed | Refused> {
    this.#open();
    checkCommit(key, changes, options);
    const { lease, commitId } = options;
    const text = keyText(key);
    const now = this.#clock.now();
    const body = this.#find(key.space, text, now);
    const seen = commitId === undefined ? undefined : body && recall(body, commitId, now);
    if (seen) return { ...seen, incremented: new Map(seen.incremented) };
    if (lease && !this.#leases.holds(text, lease.token, now)) {
      throw new AgentUpError('LEASE_LOST', `the lease on ${key.id} was lost before the commit`, {
        recordId: key.id,
        space: key.space,
      });
    }
    const idempotencyKey = options.idempotency?.key;
    const repeated = idempotencyKey !== undefined && body?.replies?.has(idempotencyKey);
    if (repeated || !meets(body, options.condition)) {
      return { committed: false, record: body && copy(body, { idempotencyKey }) };
    }
    const answer = writes(changes, options)
      ? this.#apply(key, text, body, changes, options, now)
      : untouched(body, now);
    if (lease) this.#leases.settle(text, lease.keepMs, now);
    return answer;
  }

  async delete(key: RecordKey): Promise<boolean> {
    this.#open();
    checkKey(key);
    const body = this.#find(key.space, keyText(key), this.#clock.now());
    if (body) this.#remove(body);
    return body !== undefined;
  }

  async *list(query: ListQuery): AsyncIterable<RecordInfo> {
    this.#open();
    checkList(query);
    const now = this.#clock.now();
    const space = this.#spaces.get(query.space);
    if (!space) return;
    const container = query.scope && containerText({ space: query.space, scope: query.scope });
    const names =
      query.owner !== undefined
        ? (space.byOwner.get(query.owner) ?? [])
        : container !== undefined
          ? (space.byContainer.get(container) ?? [])
          : space.bodies.keys();
    const found: Body[] = [];
    for (const name of names) {
      const body = space.bodies.get(name);
      if (!body || isExpired(body, now)) continue;
      // The bodies are in the order of their last write: from here on they are all newer.
      if (query.updatedBefore !== undefined && body.updatedAt >= query.updatedBefore) {
        if (names instanceof Set || Array.isArray(names)) continue;
        break;
      }
      if (container !== undefined && containerText(body.key) !== container) continue;
      if (query.prefix !== undefined && !body.key.id.startsWith(query.prefix)) continue;
      found.push(body);
    }
    found.sort((a, b) => (a.text < b.text ? -1 : 1));
    let left = query.limit ?? Number.POSITIVE_INFINITY;
    for (const body of found) {
      if (left === 0) return;
      this.#open();
      const gone = space.bodies.get(body.text) !== body || isExpired(body, this.#clock.now());
      if (gone) continue;
      left--;
      yield query.contents ? { ...infoOf(body), record: copy(body, {}) } : infoOf(body);
    }
  }

  async sweep(query: SweepQuery): Promise<number> {
    this.#open();
    checkSweep(query);
    const now = this.#clock.now();
    const container = query.scope && containerText({ space: query.space, scope: query.scope });
    let removed = 0;
    for (const body of this.#spaces.get(query.space)?.bodies.values() ?? []) {
      if (body.updatedAt >= query.updatedBefore) break;
      if (container !== undefined && containerText(body.key) !== container) continue;
      if (this.#leases.isHeld(body.text, now)) continue;
      this.#remove(body);
      if (!isExpired(body, now)) removed++;
    }
    return removed;
  }

  async ping(): Promise<void> {
    this.#open();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#spaces.clear();
    this.#leases.clear();
  }

  #open(): void {
    if (this.#closed) {
      throw new AgentUpError('STORAGE_CLOSED', 'the memory storage has been closed', { backend: 'memory' });
    }
  }

  #find(space: string, text: string, now: number): Body | undefined {
    const body = this.#spaces.get(space)?.bodies.get(text);
    if (!body || !isExpired(body, now)) return body;
    this.#remove(body);
    return undefined;
  }

  #apply(
    key: RecordKey,
    text: string,
    existing: Body | undefined,
    changes: readonly Change[],
    options: CommitOptions,
    now: number,
  ): Committed {
    const planned = plan(existing?.fields ?? new Map(), changes, options.maxFields);
    const body = existing ?? this.#create(key, text, now);
    if (planned.clearFields) body.fields.clear();
    for (const [field, token] of planned.fields) {
      if (token === undefined) body.fields.delete(field);
      else body.fields.set(field, token);
    }
    if (planned.clearLog) {
      body.log = [];
      body.logHead = 0;
      body.logDropped = 0;
    }
    for (const entry of planned.log) body.log.push(entry);
    if (options.logMax !== undefined) cap(body, options.logMax);
    if (options.idempotency) remember(body, options.idempotency);
    if (planned.owner) this.#own(body, planned.owner.value);
    if (options.expiry) {
      if ('set' in options.expiry) body.ownTtl = options.expiry.set;
      const ttl = 'set' in options.expiry ? options.expiry.set : (body.ownTtl ?? options.expiry.renew);
      body.expiresAt = ttl === 'none' ? undefined : now + ttl * 1000;
    }
    body.version++;
    body.updatedAt = now;
    const { bodies } = this.#spaceOf(key.space);
    bodies.delete(text);
    bodies.set(text, body);
    this.#purgeWhenDue(now);
    const { incremented } = planned;
    const answer = committed(body, incremented);
    if (options.commitId === undefined) return answer;
    const kept = incremented.size === 0 ? answer : committed(body, new Map(incremented));
    note(body.recent, { id: options.commitId, at: now, answer: kept });
    return answer;
  }

  #spaceOf(name: string): Space {
    let space = this.#spaces.get(name);
    if (!space) {
      space = { bodies: new Map(), byContainer: new Map(), byOwner: new Map() };
      this.#spaces.set(name, space);
    }
    return space;
  }

  #create(key: RecordKey, text: string, now: number): Body {
    const body: Body = {
      key: { space: key.space, scope: [...key.scope], id: key.id },
      text,
      fields: new Map(),
      log: [],
      logHead: 0,
      logDropped: 0,
      version: 0,
      owner: undefined,
      createdAt: now,
      updatedAt: now,
      expiresAt: undefined,
      ownTtl: undefined,
      replies: undefined,
      recent: [],
    };
    this.#size++;
    addTo(this.#spaceOf(key.space).byContainer, containerText(key), text);
    return body;
  }

  #own(body: Body, owner: string | undefined): void {
    const { byOwner } = this.#spaceOf(body.key.space);
    if (body.owner !== undefined) removeFrom(byOwner, body.owner, body.text);
    if (owner !== undefined) addTo(byOwner, owner, body.text);
    body.owner = owner;
  }

  #remove(body: Body): void {
    const space = this.#spaceOf(body.key.space);
    space.bodies.delete(body.text);
    removeFrom(space.byContainer, containerText(body.key), body.text);
    if (body.owner !== undefined) removeFrom(space.byOwner, body.owner, body.text);
    this.#size--;
  }

  /** Expired records that nobody asks for again would stay for ever: a pass per doubling keeps that linear. */
  #purgeWhenDue(now: number): void {
    if (--this.#writesUntilPurge > 0) return;
    for (const { bodies } of this.#spaces.values()) {
      for (const body of bodies.values()) if (isExpired(body, now)) this.#remove(body);
    }
    this.#leases.purge(now);
    this.#writesUntilPurge = Math.max(256, this.#size);
  }
}

function isExpired(body: Body, now: number): boolean {
  return body.expiresAt !== undefined && body.expiresAt <= now;
}

function committed(body: Body, incremented: Map<string, number>): Committed {
  const { version, updatedAt, expiresAt } = body;
  return { committed: true, version, updatedAt, expiresAt, incremented, logTotal: totalOf(body) };
}

function note(recent: Recent[], commit: Recent): void {
  recent.push(commit);
  if (recent.length > 2 * MAX_RECENT) recent.splice(0, MAX_RECENT);
}

function recall({ recent }: Body, id: string, now: number): Committed | undefined {
  for (let i = recent.length - 1; i >= 0; i--) {
    const commit = recent[i] as Recent;
    if (commit.id === id) return commit.at > now - RECENT_MS ? commit.answer : undefined;
  }
  return undefined;
}

function totalOf(body: Body): number {
  return body.logDropped + body.log.length - body.logHead;
}

/** Drops old entries by moving the head: taking them out of a long array each time would copy all of it. */
function cap(body: Body, max: number): void {
  const over = body.log.length - body.logHead - max;
  if (over <= 0) return;
  body.logHead += over;
  body.logDropped += over;
  if (body.logHead < 64 + max) return;
  body.log = body.log.slice(body.logHead);
  body.logHead = 0;
}

/** What to take along of a body. */
interface CopyOptions {
  readonly log?: number;
  readonly fields?: readonly string[];
  readonly idempotencyKey?: string | undefined;
}

function infoOf({ key, owner, createdAt, updatedAt, expiresAt }: Body): RecordInfo {
  const ownKey = { space: key.space, scope: [...key.scope], id: key.id };
  return { key: ownKey, owner, createdAt, updatedAt, expiresAt };
}

function remember(body: Body, { key, reply, keep }: Idempotency): void {
  body.replies ??= new Map();
  body.replies.set(key, reply);
  for (const old of body.replies.keys()) {
    if (body.replies.size <= keep) return;
    body.replies.delete(old);
  }
}

function copy(body: Body, { log = 0, fields: only, idempotencyKey }: CopyOptions): StateRecord {
  let { fields } = body;
  if (only) {
    fields = new Map();
    for (const field of only) {
      const token = body.fields.get(field);
      if (token !== undefined) fields.set(field, token);
    }
  } else fields = new Map(fields);
  return {
    fields,
    log: body.log.slice(Math.max(body.logHead, body.log.length - log)),
    logTotal: totalOf(body),
    logDropped: body.logDropped,
    version: body.version,
    owner: body.owner,
    createdAt: body.createdAt,
    updatedAt: body.updatedAt,
    expiresAt: body.expiresAt,
    reply: idempotencyKey === undefined ? undefined : body.replies?.get(idempotencyKey),
  };
}

function untouched(body: Body | undefined, now: number): Committed {
  return {
    committed: true,
    version: body?.version ?? 0,
    updatedAt: body?.updatedAt ?? now,
    expiresAt: body?.expiresAt,
    incremented: new Map(),
    logTotal: body ? totalOf(body) : 0,
  };
}

function addTo(index: Map<string, Set<string>>, name: string, text: string): void {
  const set = index.get(name);
  if (set) set.add(text);
  else index.set(name, new Set([text]));
}

function removeFrom(index: Map<string, Set<string>>, name: string, text: string): void {
  const set = index.get(name);
  set?.delete(text);
  if (set?.size === 0) index.delete(name);
}
