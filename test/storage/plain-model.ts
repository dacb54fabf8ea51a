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
  lease?: { token: string; keepMs?: number };
  /** `current`: whether the version is the present one. A field that is `undefined` must be absent. */
  condition?: { exists?: boolean; current?: boolean; fields?: [string, unknown][] | undefined };
  expiry?: { set: number | 'none' } | { renew: number | 'none' };
  logMax?: number;
  maxFields?: number;
  commitId?: string;
  idempotency?: { key: string; reply: unknown; keep: number };
}

interface Entry {
  key: RecordKey;
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
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  begin(key: RecordKey, token: string, leaseMs: number, log: number, idempotencyKey?: string): unknown {
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
    return this.read(key, log, idempotencyKey);
  }

  /** Does this token hold the lease now? */
  holds(key: RecordKey, token: string): boolean {
    const lease = this.#lease(key);
    return lease.token === token && lease.until > this.#now();
  }

  read(key: RecordKey, log: number, idempotencyKey?: string): unknown {
    const entry = this.#find(key);
    if (!entry) return undefined;
    const kept = entry.log.slice(entry.dropped);
    const left = replyOf(entry, idempotencyKey);
    return {
      ...this.#shape(entry),
      log: log === 0 ? [] : kept.slice(-log).map(encode),
      ...(left && { reply: encode(left[1]) }),
    };
  }

  readLog(key: RecordKey, limit: number, before: number): unknown {
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
    const { exists, fields: expected = [] } = options.condition ?? {};
    const unmet =
      (exists !== undefined && exists !== (present !== undefined)) ||
      options.condition?.current === false ||
      expected.some(([field, value]) => tokenOf(present?.fields.get(field)) !== tokenOf(value));
    const { idempotency } = options;
    const repeated = present && replyOf(present, idempotency?.key) !== undefined;
    if (unmet || repeated) return { refused: this.read(key, 0, idempotency?.key) };

    const entry: Entry = present
      ? { ...present, fields: new Map(present.fields), log: [...present.log] }
      : {
          ...{ key, fields: new Map(), log: [], dropped: 0, owner: undefined, createdAt: now, updatedAt: now },
          ...{ expiresAt: undefined, ownTtl: undefined, replies: [], keep: 0 },
        };
    const incremented = new Map<string, number>();
    for (const change of changes) {
      const error = applyTo(entry, change, incremented);
      if (error) return { error };
    }
    const size = entry.fields.size;
    if (size > (options.maxFields ?? size) && size > (present?.fields.size ?? 0)) return { error: 'LIMIT_EXCEEDED' };

    if (changes.length > 0 || options.expiry || idempotency) {
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
      this.#entries = [...this.#entries.filter((one) => one !== present), entry];
    }
    if (options.lease?.keepMs) lease.until = now + options.lease.keepMs;
    else if (options.lease) lease.until = 0;

    const { updatedAt, expiresAt } = entry;
    const answer = { updatedAt, expiresAt, incremented: sorted(incremented), logTotal: entry.log.length };
    if (id) this.#answers.set(id, answer);
    return answer;
  }

  delete(key: RecordKey): boolean {
    const entry = this.#find(key);
    this.#entries = this.#entries.filter((one) => one !== entry);
    return entry !== undefined;
  }

  list(query: { scope?: readonly string[]; prefix?: string; owner?: string; updatedBefore?: number }): unknown[] {
    return this.#alive()
      .filter(
        ({ key, owner, updatedAt }) =>
          (query.scope === undefined || JSON.stringify(key.scope) === JSON.stringify(query.scope)) &&
          key.id.startsWith(query.prefix ?? '') &&
          (query.owner === undefined || owner === query.owner) &&
          updatedAt < (query.updatedBefore ?? Number.POSITIVE_INFINITY),
      )
      .sort((a, b) => (encodeName(a.key.id) < encodeName(b.key.id) ? -1 : 1))
      .map(({ key, owner, createdAt, updatedAt, expiresAt }) => ({ key, owner, createdAt, updatedAt, expiresAt }));
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

  #shape({ fields, log, dropped, owner, createdAt, updatedAt, expiresAt, ownTtl }: Entry): object {
    const tokens = new Map([...fields].map(([field, value]) => [field, encode(value)]));
    const counts = { logTotal: log.length, logDropped: dropped };
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

function replyOf({ replies, keep }: Entry, key: string | undefined): [string, unknown] | undefined {
  return keep === 0 ? undefined : replies.slice(-keep).find(([known]) => known === key);
}
