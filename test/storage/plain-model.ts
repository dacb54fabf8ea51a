import { encode } from '../../src/json.js';
import { encodeName, type RecordKey } from '../../src/storage/keys.js';
import { RESERVATION_MS } from '../../src/storage/state-storage.js';

/** A change as the model takes it: with values where a storage takes tokens. */
export type ModelChange =
  | { op: 'set'; field: string; value: unknown }
  | { op: 'remove'; field: string }
  | { op: 'increment'; field: string; by: number }
  | { op: 'append'; field: string; item: unknown }
  | { op: 'log'; entry: unknown }
  | { op: 'clearLog' }
  | { op: 'clearFields' }
  | { op: 'owner'; owner: string | undefined }
  | { op: 'touch' };

export interface ModelOptions {
  lease?: { token: string; keepMs?: number; next?: ModelBegin };
  /** A field that is `undefined` must be absent. */
  condition?: { exists?: boolean; version?: number; owner?: string | null; fields?: [string, unknown][] | undefined };
  expiry?: { set: number | 'none' } | { renew: number | 'none' };
  carried?: ModelCarried;
  logMax?: number;
  maxFields?: number;
  commitId?: string;
  idempotency?: { key: string; reply: unknown; keep: number };
}

export interface ModelBegin {
  token: string;
  leaseMs: number;
  log: number;
  idempotencyKey?: string;
}

export interface ModelCarried {
  createdAt: number;
  updatedAt: number;
  expiresAt: number | undefined;
  ownTtl: number | 'none' | undefined;
  logDropped?: number;
  replies?: [key: string, reply: unknown][];
}

export interface ModelQuery {
  scope?: readonly string[];
  prefix?: string;
  owner?: string;
  updatedBefore?: number;
  after?: string;
  limit?: number;
  contents?: boolean;
}

interface Entry {
  key: RecordKey;
  /** Tells a record from one that was there before under the same key. */
  incarnation: number;
  version: number;
  fields: Map<string, unknown>;
  /** Every entry since the log began. */
  log: unknown[];
  dropped: number;
  owner: string | undefined;
  createdAt: number;
  updatedAt: number;
  expiresAt: number | undefined;
  ownTtl: number | 'none' | undefined;
  /** Every reply ever left, and how many of them count. */
  replies: [key: string, reply: unknown][];
  keep: number;
}

interface Lease {
  token: string;
  until: number;
  next: string;
  nextUntil: number;
}

/**
 * The storage contract, written a second time in the plainest way: values instead of tokens, every question answered
 * by going through all there is, a copy thrown away where a storage must check before it writes. Answers are plain
 * values to compare; failures are `{ error: code }`.
 */
export class PlainModel {
  #entries: Entry[] = [];
  readonly #leases = new Map<string, Lease>();
  readonly #answers = new Map<string, unknown>();
  #incarnations = 0;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  begin(key: RecordKey, { token, leaseMs, log, idempotencyKey }: ModelBegin): unknown {
    const now = this.#now();
    const lease = this.#lease(key);
    const held = lease.until > now;
    const reserved = lease.nextUntil > now;
    if ((held && lease.token !== token) || (!held && reserved && lease.next !== token)) {
      if (!reserved || lease.next === token) Object.assign(lease, { next: token, nextUntil: now + RESERVATION_MS });
      return 'busy';
    }
    if (lease.next === token) lease.nextUntil = 0;
    Object.assign(lease, { token, until: now + leaseMs });
    return this.read(key, { log, idempotencyKey });
  }

  /** Might a turn begin in the commit that ends this lease? Not while somebody else waits. */
  passes(key: RecordKey, { lease }: ModelOptions): boolean {
    return lease?.next !== undefined && lease.keepMs === undefined && this.#lease(key).nextUntil <= this.#now();
  }

  /** Was this very commit applied before? */
  knows(key: RecordKey, { commitId }: ModelOptions): boolean {
    return commitId !== undefined && this.#answers.has(JSON.stringify([key, commitId]));
  }

  incarnation(key: RecordKey): number | undefined {
    return this.#find(key)?.incarnation;
  }

  version(key: RecordKey): number {
    return this.#find(key)?.version ?? 0;
  }

  /** Does this token hold the lease now? */
  holds(key: RecordKey, token: string): boolean {
    const lease = this.#lease(key);
    return lease.token === token && lease.until > this.#now();
  }

  read(
    key: RecordKey,
    asked: { log?: number; fields?: string[]; idempotencyKey?: string | undefined; replies?: boolean } = {},
  ): unknown {
    const entry = this.#find(key);
    if (!entry) return undefined;
    const kept = entry.log.slice(entry.dropped);
    const left = replyOf(entry, asked.idempotencyKey);
    return {
      ...this.#shape(entry, asked.fields),
      log: asked.log ? kept.slice(-asked.log).map(encode) : [],
      ...(left && { reply: encode(left[1]) }),
      ...(asked.replies && { replies: repliesOf(entry).map(([name, reply]) => [name, encode(reply)]) }),
    };
  }

  readLog(key: RecordKey, limit = Number.POSITIVE_INFINITY, before = Number.POSITIVE_INFINITY): unknown {
    const entry = this.#find(key);
    if (!entry) return { entries: [], start: 0, total: 0, dropped: 0 };
    const { log, dropped } = entry;
    const positions = log.map((_, position) => position).filter((at) => at >= dropped && at < before);
    const page = limit === 0 ? [] : positions.slice(-limit);
    const start = page[0] ?? Math.max(dropped, Math.min(before, log.length));
    return { entries: page.map((at) => encode(log[at])), start, total: log.length, dropped };
  }

  commit(key: RecordKey, changes: readonly ModelChange[], options: ModelOptions): unknown {
    const now = this.#now();
    const id = options.commitId && JSON.stringify([key, options.commitId]);
    if (id && this.#answers.has(id)) return this.#answers.get(id);
    const lease = this.#lease(key);
    if (options.lease && (lease.token !== options.lease.token || lease.until <= now)) return { error: 'LEASE_LOST' };
    const present = this.#find(key);
    const { exists, owner, fields: expected = [] } = options.condition ?? {};
    const unmet =
      (exists !== undefined && exists !== (present !== undefined)) ||
      (options.condition?.version ?? present?.version ?? 0) !== (present?.version ?? 0) ||
      (owner !== undefined && owner !== (present?.owner ?? null)) ||
      expected.some(([field, value]) => tokenOf(present?.fields.get(field)) !== tokenOf(value));
    const { idempotency } = options;
    const repeated = present && replyOf(present, idempotency?.key) !== undefined;
    if (unmet || repeated) return { refused: this.read(key, { idempotencyKey: idempotency?.key }) };

    const entry: Entry = present
      ? { ...present, fields: new Map(present.fields), log: [...present.log] }
      : {
          ...{ incarnation: ++this.#incarnations, version: 0 },
          ...{ key, fields: new Map(), log: [], dropped: 0, owner: undefined, createdAt: now, updatedAt: now },
          ...{ expiresAt: undefined, ownTtl: undefined, replies: [], keep: 0 },
        };
    const incremented = new Map<string, number>();
    for (const change of changes) {
      const error = applyTo(entry, change, incremented);
      if (error) return { error };
    }
    const { carried } = options;
    if (carried?.logDropped) {
      entry.log = Array(carried.logDropped).fill(null);
      entry.dropped = carried.logDropped;
    }
    const size = entry.fields.size;
    if (size > (options.maxFields ?? size) && size > (present?.fields.size ?? 0)) return { error: 'LIMIT_EXCEEDED' };

    if (changes.length > 0 || options.expiry || idempotency || carried) {
      if (idempotency) {
        entry.replies = [...entry.replies.slice(-entry.keep), [idempotency.key, idempotency.reply]];
        entry.keep = idempotency.keep;
      }
      entry.dropped = Math.max(entry.dropped, entry.log.length - (options.logMax ?? entry.log.length));
      if (options.expiry) {
        const { expiry } = options;
        if ('set' in expiry) entry.ownTtl = expiry.set;
        const ttl = entry.ownTtl ?? ('renew' in expiry ? expiry.renew : 'none');
        entry.expiresAt = ttl === 'none' ? undefined : now + ttl * 1000;
      }
      entry.updatedAt = now;
      if (carried) {
        const { createdAt, updatedAt, expiresAt, ownTtl, replies } = carried;
        Object.assign(entry, { createdAt, updatedAt, expiresAt, ownTtl });
        if (replies) Object.assign(entry, { replies, keep: replies.length });
      }
      entry.version++;
      this.#entries = [...this.#entries.filter((one) => one !== present), entry];
    }
    if (options.lease?.keepMs) lease.until = now + options.lease.keepMs;
    else if (options.lease) lease.until = 0;

    const { version, updatedAt, expiresAt } = entry;
    const answer = { version, updatedAt, expiresAt, incremented: sorted(incremented), logTotal: entry.log.length };
    if (id) this.#answers.set(id, answer);
    return answer;
  }

  delete(key: RecordKey): boolean {
    const entry = this.#find(key);
    this.#entries = this.#entries.filter((one) => one !== entry);
    return entry !== undefined;
  }

  list(query: ModelQuery): unknown[] {
    return this.#alive()
      .filter(
        ({ key, owner, updatedAt }) =>
          (query.scope === undefined || JSON.stringify(key.scope) === JSON.stringify(query.scope)) &&
          key.id.startsWith(query.prefix ?? '') &&
          (query.after === undefined || encodeName(key.id) > encodeName(query.after)) &&
          (query.owner === undefined || owner === query.owner) &&
          updatedAt < (query.updatedBefore ?? Number.POSITIVE_INFINITY),
      )
      .sort((a, b) => (encodeName(a.key.id) < encodeName(b.key.id) ? -1 : 1))
      .slice(0, query.limit)
      .map(({ key, owner, createdAt, updatedAt, expiresAt }) => {
        const info = { key, owner, createdAt, updatedAt, expiresAt };
        return query.contents ? { ...info, record: this.read(key) } : info;
      });
  }

  sweep(query: { scope?: readonly string[]; updatedBefore: number }): number {
    const stale = this.#alive().filter(
      ({ key, updatedAt }) =>
        (query.scope === undefined || JSON.stringify(key.scope) === JSON.stringify(query.scope)) &&
        updatedAt < query.updatedBefore &&
        this.#lease(key).until <= this.#now(),
    );
    for (const { key } of stale) this.delete(key);
    return stale.length;
  }

  #alive(): Entry[] {
    return this.#entries.filter(({ expiresAt }) => expiresAt === undefined || expiresAt > this.#now());
  }

  #find(key: RecordKey): Entry | undefined {
    return this.#alive().find((entry) => JSON.stringify(entry.key) === JSON.stringify(key));
  }

  #lease(key: RecordKey): Lease {
    const name = JSON.stringify(key);
    const lease = this.#leases.get(name) ?? { token: '', until: 0, next: '', nextUntil: 0 };
    this.#leases.set(name, lease);
    return lease;
  }

  #shape(entry: Entry, wanted?: readonly string[]): object {
    const { fields, log, dropped, version, owner, createdAt, updatedAt, expiresAt, ownTtl } = entry;
    const asked = [...fields].filter(([field]) => wanted?.includes(field) ?? true);
    const tokens = new Map(asked.map(([field, value]) => [field, encode(value)]));
    const counts = { version, logTotal: log.length, logDropped: dropped };
    return { fields: sorted(tokens), ...counts, owner, createdAt, updatedAt, expiresAt, ownTtl };
  }
}

/** A map as a list that can be compared: whatever the names, in their order. */
export function sorted<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

function tokenOf(value: unknown): string | undefined {
  return value === undefined ? undefined : encode(value);
}

/** Changes a copy, or says why it cannot. */
function applyTo(entry: Entry, change: ModelChange, incremented: Map<string, number>): string | undefined {
  const { fields } = entry;
  switch (change.op) {
    case 'set':
      fields.set(change.field, change.value);
      return undefined;
    case 'remove':
      fields.delete(change.field);
      return undefined;
    case 'increment': {
      const value = fields.has(change.field) ? fields.get(change.field) : 0;
      if (!Number.isSafeInteger(value) || Object.is(value, -0)) return 'WRONG_TYPE';
      const sum = (value as number) + change.by;
      if (!Number.isSafeInteger(sum)) return 'INTEGER_OVERFLOW';
      fields.set(change.field, sum);
      incremented.set(change.field, sum);
      return undefined;
    }
    case 'append': {
      const value = fields.has(change.field) ? fields.get(change.field) : [];
      if (!Array.isArray(value)) return 'WRONG_TYPE';
      fields.set(change.field, [...value, change.item]);
      return undefined;
    }
    case 'log':
      entry.log.push(change.entry);
      return undefined;
    case 'clearLog':
      entry.log = [];
      entry.dropped = 0;
      return undefined;
    case 'clearFields':
      fields.clear();
      return undefined;
    case 'owner':
      entry.owner = change.owner;
      return undefined;
    case 'touch':
      return undefined;
  }
}

function repliesOf({ replies, keep }: Entry): [string, unknown][] {
  return keep === 0 ? [] : replies.slice(-keep);
}

function replyOf(entry: Entry, key: string | undefined): [string, unknown] | undefined {
  return repliesOf(entry).find(([known]) => known === key);
}
