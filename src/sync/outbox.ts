import { AgentUpError } from '../errors.js';
import { decode, encode, integerOf, type Token } from '../json.js';
import { checkCount } from '../storage/changes.js';
import type { RecordKey } from '../storage/keys.js';
import type { Change, Committed, StateRecord, StateStorage } from '../storage/state-storage.js';
import { uniqueId } from '../unique-id.js';
import type { Batch, OutboxEntry, SyncTarget } from './outbox-entry.js';
import { readableRecords, type Unreadable } from './readable-records.js';

/** Queues, one for each conversation with the remote. The log holds what waits, its fields what is on its way. */
const SPACE = 'sync-outbox';
/** How long an empty queue is kept, for the session that it knows. Seconds. */
const IDLE_TTL = 600;
/** Most entries looked at for one request. */
const WINDOW = 500;

/** What becomes of an entry when as many wait as may. */
export type AtLimit = 'drop_oldest' | 'reject';

export interface OutboxOptions {
  /** Most entries of one conversation that wait. Default 10000. */
  readonly max?: number | undefined;
  /** Default `drop_oldest`. */
  readonly atLimit?: AtLimit | undefined;
}

/** What lies in a queue. */
export interface Queue {
  readonly key: RecordKey;
  readonly version: number;
  /** The remote's id of the conversation, where it is known. */
  readonly session: string | undefined;
  /** Taken out of the log, not yet acknowledged: it is sent again as it is until it passes. */
  readonly batches: readonly Batch[];
  /** Position in the log of the first entry that waits. */
  readonly next: number;
  /** Entries that the bound has cost. */
  readonly dropped: number;
  readonly total: number;
  readonly pending: number;
}

/** What changes in a queue by one step of its sender. */
export interface Step {
  readonly batches: readonly Batch[];
  readonly session: string | undefined;
  /** Entries of the log that go into `batches`, and how many before them the bound has cost. */
  readonly taken?: { readonly next: number; readonly dropped: number };
}

/** The durable queues of what the remote has still to be told, in the app's own storage. */
export class Outbox {
  readonly storage: StateStorage;
  readonly #max: number;
  readonly #atLimit: AtLimit;

  /** @throws INVALID_ARGUMENT */
  constructor(storage: StateStorage, { max = 10_000, atLimit = 'drop_oldest' }: OutboxOptions = {}) {
    checkCount(max, 'outbox.max', 1);
    if (atLimit !== 'drop_oldest' && atLimit !== 'reject') {
      throw new AgentUpError('INVALID_ARGUMENT', 'outbox.atLimit is drop_oldest or reject', {
        argument: 'outbox.atLimit',
      });
    }
    this.storage = storage;
    this.#max = max;
    this.#atLimit = atLimit;
  }

  keyOf({ subDomain, userId }: SyncTarget): RecordKey {
    return { space: SPACE, scope: [subDomain], id: userId };
  }

  /** One commit; with `reject` a look before it. @throws LIMIT_EXCEEDED where that finds no room */
  async add(entry: OutboxEntry): Promise<void> {
    const key = this.keyOf(entry.target);
    if (this.#atLimit === 'reject') this.#refuseFull(await this.storage.read(key, { fields: ['next'] }));
    await this.#append(key, [entry], []);
  }

  /**
   * Takes over what a turn has committed, in its order and each entry once: `source` names where it lies, and entries
   * up to the one that was taken from there last are known already. Nothing is refused: the turn has its word.
   */
  async takeOver(source: string, entries: readonly OutboxEntry[]): Promise<void> {
    const field = `taken:${source}`;
    for (const group of byQueue(entries, (entry) => this.keyOf(entry.target))) {
      for (;;) {
        const record = await this.storage.read(group.key, { fields: [field] });
        const last = record?.fields.get(field);
        const known = last === undefined ? -1 : group.entries.findIndex(({ id }) => encode(id) === last);
        const fresh = group.entries.slice(known + 1);
        const newest = fresh.at(-1);
        if (newest === undefined) break;
        const mark: Change = { op: 'set', field, value: encode(newest.id) };
        if (await this.#append(group.key, fresh, [mark], new Map([[field, last]]))) break;
      }
    }
  }

  /** Every queue that can be read, also those of which nothing waits. */
  async *queues(unreadable: Unreadable): AsyncGenerator<Queue, void, undefined> {
    for await (const { key, record } of readableRecords(this.storage, SPACE, unreadable)) yield queueOf(key, record);
  }

  async peek(target: SyncTarget): Promise<Queue | undefined> {
    const key = this.keyOf(target);
    const record = await this.storage.read(key);
    return record && queueOf(key, record);
  }

  /** Everything in a queue that the remote has not acknowledged, in its order. */
  async pending(queue: Queue): Promise<OutboxEntry[]> {
    const entries = queue.batches.flatMap((batch) => batch.entries);
    for (let next = queue.next; next < queue.total; ) {
      const page = await this.waiting(queue.key, next);
      if (page.entries.length === 0) break;
      entries.push(...page.entries);
      next = page.next;
    }
    return entries;
  }

  /** When the oldest entry of a queue was noted, epoch milliseconds. */
  async oldest(queue: Queue): Promise<number | undefined> {
    const first = queue.batches[0]?.entries[0];
    if (first) return first.at;
    return queue.pending === 0 ? undefined : (await this.waiting(queue.key, queue.next, 1)).entries[0]?.at;
  }

  /** Becomes the one that sends this queue. `undefined` where somebody else is. */
  async claim(key: RecordKey, token: string, leaseMs: number): Promise<Queue | 'busy' | 'empty'> {
    const begun = await this.storage.begin(key, { token, leaseMs });
    if (begun.busy) return 'busy';
    if (begun.record) return queueOf(key, begun.record);
    await this.release(key, token);
    return 'empty';
  }

  /** Gives the right to send back. */
  async release(key: RecordKey, token: string): Promise<void> {
    await this.storage.commit(key, [], { lease: { token } });
  }

  /** The first entries that wait from position `next` on. `dropped`: how many before them are gone. */
  async waiting(
    key: RecordKey,
    next: number,
    limit = WINDOW,
  ): Promise<{ entries: OutboxEntry[]; next: number; dropped: number; total: number }> {
    let page = await this.storage.readLog(key, { before: next + limit, limit });
    // The bound has moved on past what was asked for.
    if (page.dropped >= next + limit) page = await this.storage.readLog(key, { before: page.dropped + limit, limit });
    const skip = Math.max(0, next - page.start);
    const entries = page.entries.slice(skip).map((token) => decode<OutboxEntry>(token));
    const start = Math.max(next, page.start);
    return { entries, next: start + entries.length, dropped: start - next, total: page.total };
  }

  /** Notes what the sender has come to, and keeps the lease. @throws LEASE_LOST */
  async step(queue: Queue, token: string, leaseMs: number, step: Step): Promise<Queue> {
    const { taken = { next: queue.next, dropped: 0 } } = step;
    const changes: Change[] = [
      set('batches', step.batches),
      { op: 'set', field: 'next', value: String(taken.next) },
      sessionChange(step.session),
    ];
    if (taken.dropped > 0) changes.push({ op: 'increment', field: 'dropped', by: taken.dropped });
    const options = { lease: { token, keepMs: leaseMs }, commitId: uniqueId() };
    const { version, logTotal } = (await this.storage.commit(queue.key, changes, options)) as Committed;
    return {
      ...queue,
      version,
      session: step.session,
      batches: step.batches,
      next: taken.next,
      dropped: queue.dropped + taken.dropped,
      total: logTotal,
      pending: countOf(step.batches) + Math.max(0, logTotal - taken.next),
    };
  }

  /** Empties the queue of which everything is acknowledged, and gives the lease back; false where more has come. */
  async finish(queue: Queue, token: string, session: string | undefined): Promise<boolean> {
    const changes: Change[] = [
      { op: 'clearLog' },
      { op: 'remove', field: 'batches' },
      { op: 'remove', field: 'next' },
      sessionChange(session),
    ];
    const { committed } = await this.storage.commit(queue.key, changes, {
      lease: { token },
      condition: { version: queue.version },
      expiry: { set: IDLE_TTL },
      commitId: uniqueId(),
    });
    return committed;
  }

  async #append(
    key: RecordKey,
    entries: readonly OutboxEntry[],
    more: readonly Change[],
    fields?: ReadonlyMap<string, Token | undefined>,
  ): Promise<boolean> {
    const changes: Change[] = [...entries.map((entry): Change => ({ op: 'log', entry: encode(entry) })), ...more];
    const { committed } = await this.storage.commit(key, changes, {
      expiry: { set: 'none' },
      logMax: this.#max,
      commitId: uniqueId(),
      ...(fields && { condition: { fields } }),
    });
    return committed;
  }

  #refuseFull(record: StateRecord | undefined): void {
    const waits = record ? record.logTotal - numberIn(record, 'next') : 0;
    if (waits < this.#max) return;
    throw new AgentUpError('LIMIT_EXCEEDED', `${waits} entries wait to be sent; at most ${this.#max} may`, {
      limit: 'outbox.max',
      max: this.#max,
      actual: waits,
    });
  }
}

function queueOf(key: RecordKey, record: StateRecord): Queue {
  const token = record.fields.get('batches');
  const batches = token === undefined ? [] : decode<Batch[]>(token);
  const session = record.fields.get('session');
  const next = numberIn(record, 'next');
  const lost = Math.max(0, record.logDropped - next);
  return {
    key,
    version: record.version,
    session: session === undefined ? undefined : decode<string>(session),
    batches,
    next,
    dropped: numberIn(record, 'dropped') + lost,
    total: record.logTotal,
    pending: countOf(batches) + Math.max(0, record.logTotal - next - lost),
  };
}

function numberIn(record: StateRecord, field: string): number {
  return integerOf(record.fields.get(field) ?? '0') ?? 0;
}

function countOf(batches: readonly Batch[]): number {
  return batches.reduce((sum, { entries }) => sum + entries.length, 0);
}

function set(field: string, value: unknown): Change {
  return { op: 'set', field, value: encode(value) };
}

function sessionChange(session: string | undefined): Change {
  return session === undefined ? { op: 'remove', field: 'session' } : set('session', session);
}

function byQueue(
  entries: readonly OutboxEntry[],
  keyOf: (entry: OutboxEntry) => RecordKey,
): { key: RecordKey; entries: OutboxEntry[] }[] {
  const groups = new Map<string, { key: RecordKey; entries: OutboxEntry[] }>();
  for (const entry of entries) {
    const key = keyOf(entry);
    const name = JSON.stringify([key.scope, key.id]);
    const group = groups.get(name) ?? { key, entries: [] };
    group.entries.push(entry);
    groups.set(name, group);
  }
  return [...groups.values()];
}
