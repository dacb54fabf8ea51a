import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { encode } from '../../src/json.js';
import type { RecordKey } from '../../src/storage/keys.js';
import {
  type Change,
  type CommitOptions,
  type ListQuery,
  RESERVATION_MS,
  type StateRecord,
  type StateStorage,
} from '../../src/storage/state-storage.js';
import type { TestClock } from '../support/test-clock.js';
import { type DrawnOptions, KEYS, type Step, WORKS } from './arbitraries.js';
import { type ModelChange, type ModelOptions, PlainModel, sorted } from './plain-model.js';

/** A storage to be held against the model. */
export interface Subject {
  open(): StateStorage;
  /** How many instances over the one store are used in turn. Default 1. */
  instances?: number;
  /** Where there is none time is real, and what depends on it is compared roughly. */
  clock?: TestClock;
}

/** A commit as it was sent, to be sent again. */
interface Sent {
  readonly changes: readonly ModelChange[];
  readonly options: ModelOptions;
  readonly by: number;
  readonly born: unknown;
}

/** Thrown where nobody can tell any more what is to be expected. */
const INCONCLUSIVE = Symbol('inconclusive');

/** Drives a storage and the model through the same steps; every difference is a failure. */
export class ModelPair {
  readonly #subject: Subject;
  readonly #space = `pair-${randomBytes(6).toString('hex')}`;
  readonly #model: PlainModel;
  /** The last commits with an id on each record, newest last. */
  readonly #sent = new Map<number, Sent[]>();
  /** The tokens in use, by record and by who uses them, and those that had their lease. */
  readonly #tokens = new Map<string, string>();
  readonly #served = new Set<string>();
  #ids = 0;
  #checks = 0;
  /** When somebody was last refused, where time is real. */
  #refusedAt = Number.NEGATIVE_INFINITY;
  readonly #storages: StateStorage[];

  constructor(subject: Subject) {
    this.#subject = subject;
    this.#model = new PlainModel(() => this.#now());
    this.#storages = Array.from({ length: subject.instances ?? 1 }, () => subject.open());
  }

  /** Takes the steps, looking at every record after each. */
  async run(steps: readonly Step[]): Promise<void> {
    try {
      for (const step of steps) {
        await this.#step(step);
        await this.#check();
      }
    } catch (error) {
      if (error !== INCONCLUSIVE) throw error;
    } finally {
      await this.#close();
    }
  }

  async #step(step: Step): Promise<void> {
    const storage = this.#storages[step.by] as StateStorage;
    switch (step.do) {
      case 'commit':
        return this.#send(step);
      case 'resend': {
        const sent = this.#sent.get(step.key)?.at(-1 - step.of);
        // With the record may go what is known of its commits.
        if (!sent || sent.born !== this.#model.incarnation(this.#key(step.key))) return;
        return this.#commit(storage, step.key, sent);
      }
      case 'begin': {
        const { leaseMs, log, idempotencyKey } = step;
        const key = this.#key(step.key);
        const token = this.#tokenFor(step.key, step.token);
        const asked = { token, leaseMs, log, ...(idempotencyKey !== undefined && { idempotencyKey }) };
        const begun = await this.#certain(() => storage.begin(key, asked));
        this.#same(begun.busy ? 'busy' : shape(begun.record), this.#model.begin(key, asked));
        if (begun.busy) this.#refusedAt = performance.now();
        else this.#served.add(token);
        return;
      }
      case 'read': {
        const { do: _, by: __, key, ...asked } = step;
        const record = await storage.read(this.#key(key), asked);
        return this.#same(shape(record), this.#model.read(this.#key(key), asked));
      }
      case 'readLog': {
        const { do: _, by: __, key, ...asked } = step;
        const page = await storage.readLog(this.#key(key), asked);
        return this.#same(page, this.#model.readLog(this.#key(key), asked.limit, asked.before));
      }
      case 'delete':
        return this.#same(await storage.delete(this.#key(step.key)), this.#model.delete(this.#key(step.key)));
      case 'list':
        return this.#list(storage, step);
      case 'sweep': {
        const query = { ...(step.scope && { scope: step.scope }), updatedBefore: this.#now() - step.age };
        return this.#same(await storage.sweep({ space: this.#space, ...query }), this.#model.sweep(query));
      }
      case 'advance':
        return this.#subject.clock?.advance(step.ms);
      case 'reopen':
        await storage.close();
        this.#storages[step.by] = this.#subject.open();
    }
  }

  /** Every record must be the same on both sides, whichever instance is asked. */
  async #check(): Promise<void> {
    for (const index of KEYS.keys()) {
      const at = this.#checks++;
      const storage = this.#storages[at % this.#storages.length] as StateStorage;
      const asked = { log: 99, idempotencyKey: WORKS[at % WORKS.length] as string, replies: true };
      const record = await storage.read(this.#key(index), asked);
      this.#same(shape(record), this.#model.read(this.#key(index), asked));
    }
  }

  async #close(): Promise<void> {
    for (const index of KEYS.keys()) await this.#storages[0]?.delete(this.#key(index));
    for (const storage of this.#storages) await storage.close();
  }

  /** Sends a commit for the first time. */
  async #send({ by, key, changes: drawn, options: given, named }: Step & { do: 'commit' }): Promise<void> {
    const { carried, condition, lease, ...rest } = given;
    const { idempotency, expiry } = given;
    const now = this.#now();
    const { current, ...conditions } = condition ?? {};
    const version = this.#model.version(this.#key(key)) + (current ? 0 : 1);
    const token = lease && (this.#tokens.get(`${key} ${lease.token}`) ?? lease.token);
    const next = lease?.next && { ...lease.next, token: this.#tokenFor(key, lease.next.token, token) };
    // A log that begins further on is one that was cleared and has no entries yet.
    const changes: ModelChange[] = carried?.logDropped
      ? [...drawn.filter(({ op }) => op !== 'log'), { op: 'clearLog' }]
      : [...drawn];
    const options: ModelOptions = {
      ...rest,
      ...(lease && { lease: { ...lease, token: token as string, ...(next && { next }) } }),
      ...(condition && { condition: { ...conditions, ...(current !== undefined && { version }) } }),
      ...(carried && { carried: later(carried, now) }),
      // What writes nothing leaves nothing that an id could be kept with. Senders are told apart by how it begins.
      ...(named &&
        (changes.length > 0 || expiry || idempotency || carried) && { commitId: `sender-${by}${this.#ids++}` }),
    };
    const sent = { changes, options, by };
    await this.#commit(this.#storages[by] as StateStorage, key, sent);
    const born = this.#model.incarnation(this.#key(key));
    // A sender that has committed under a later lease does not ask for what was before.
    const before = this.#sent.get(key) ?? [];
    const asked =
      lease && this.#last ? before.filter((one) => one.by !== by || one.options.lease?.token === token) : before;
    const forgotten = options.commitId === undefined || (this.#last && born === undefined);
    this.#sent.set(key, forgotten ? asked : [...asked, { ...sent, born }]);
  }

  /** Did the last commit go through? */
  #last = false;

  async #commit(storage: StateStorage, index: number, { changes, options }: Omit<Sent, 'born'>): Promise<void> {
    const key = this.#key(index);
    const { condition, idempotency, carried, lease, ...rest } = options;
    const real: CommitOptions = {
      ...rest,
      ...(lease && { lease }),
      ...(idempotency && { idempotency: { ...idempotency, reply: encode(idempotency.reply) } }),
      ...(carried && {
        carried: {
          ...carried,
          replies: carried.replies && new Map(carried.replies.map(([name, reply]) => [name, encode(reply)])),
        },
      }),
      ...(condition && {
        condition: {
          ...condition,
          fields: condition.fields && new Map(condition.fields.map(([name, value]) => [name, tokenOf(value)])),
        },
      }),
    } as CommitOptions;
    let answer: unknown;
    let begun: { record: StateRecord | undefined } | undefined;
    try {
      const committed = await this.#certain(() => storage.commit(key, changes.map(storageChange), real));
      this.#last = committed.committed;
      if (committed.committed) {
        const { committed: _, incremented, begun: passed, ...attributes } = committed;
        begun = passed;
        answer = { ...attributes, incremented: sorted(incremented) };
      } else answer = { refused: shape(committed.record) };
    } catch (error) {
      if (error === INCONCLUSIVE || !(error as { code?: string }).code) throw error;
      this.#last = false;
      answer = { error: (error as { code: string }).code };
    }
    const passes = this.#model.passes(key, options) && !this.#model.knows(key, options);
    this.#same(answer, this.#model.commit(key, changes, options));
    this.#same(begun !== undefined, this.#last && passes);
    if (!begun || !lease?.next) return;
    this.#same(shape(begun.record), this.#model.begin(key, lease.next));
    this.#served.add(lease.next.token);
  }

  async #list(
    storage: StateStorage,
    { do: _, by: __, age, limit, after, ...asked }: Step & { do: 'list' },
  ): Promise<void> {
    const query = {
      ...asked,
      ...(age !== undefined && { updatedBefore: this.#now() - age }),
      // An order is promised inside one scope only.
      ...(asked.scope && after !== undefined && { after }),
      ...(asked.scope && limit !== undefined && { limit }),
    };
    const infos: unknown[] = [];
    const real: ListQuery = { space: this.#space, ...query };
    for await (const { record, ...info } of storage.list(real)) {
      infos.push(asked.contents ? { ...info, record: shape(record) } : info);
    }
    const wanted = this.#model.list(query);
    if (!asked.scope) for (const list of [infos, wanted]) list.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
    this.#same(infos, wanted);
  }

  /** A token is used for one turn: once its lease has ended, who asks takes a new one. Nobody hands on to himself. */
  #tokenFor(key: number, name: string, from?: string): string {
    const token = this.#tokens.get(`${key} ${name}`);
    const usable = token !== undefined && token !== from;
    if (usable && (!this.#served.has(token) || this.#model.holds(this.#key(key), token))) return token;
    const fresh = `${name}${this.#ids++}`;
    this.#tokens.set(`${key} ${name}`, fresh);
    return fresh;
  }

  /** A call that asks for leases: where time is real the place of who was refused lapses when it likes. */
  async #certain<T>(call: () => Promise<T>): Promise<T> {
    const answer = await call().catch((error: unknown) => ({ error }) as never);
    const since = this.#subject.clock ? Number.POSITIVE_INFINITY : performance.now() - this.#refusedAt;
    if (since > RESERVATION_MS / 2 && since < RESERVATION_MS * 2) throw INCONCLUSIVE;
    if (answer && typeof answer === 'object' && 'error' in answer) throw (answer as { error: unknown }).error;
    return answer;
  }

  #now(): number {
    return this.#subject.clock?.now() ?? Date.now();
  }

  #key(index: number): RecordKey {
    const { scope, id } = KEYS[index] as (typeof KEYS)[number];
    return { space: this.#space, scope, id };
  }

  #same(actual: unknown, wanted: unknown): void {
    if (this.#subject.clock) assert.deepStrictEqual(actual, wanted);
    else assert.deepStrictEqual(roughly(actual), roughly(wanted));
  }
}

function later({ createdAt, updatedAt, expiresAt, ...rest }: NonNullable<DrawnOptions['carried']>, now: number) {
  return {
    ...rest,
    ...{ createdAt: now + createdAt, updatedAt: now + updatedAt },
    expiresAt: expiresAt === undefined ? undefined : now + expiresAt,
  };
}

function storageChange(change: ModelChange): Change {
  if (change.op === 'set') return { ...change, value: encode(change.value) };
  if (change.op === 'append') return { ...change, item: encode(change.item) };
  if (change.op === 'log') return { ...change, entry: encode(change.entry) };
  return change;
}

function tokenOf(value: unknown): string | undefined {
  return value === undefined ? undefined : encode(value);
}

/** A record as plain values. */
function shape(record: StateRecord | undefined): unknown {
  if (!record) return undefined;
  const { fields, reply, replies, ...rest } = record;
  return {
    ...rest,
    fields: sorted(fields),
    ...(reply !== undefined && { reply }),
    ...(replies !== undefined && { replies: [...replies] }),
  };
}

function nameOf(info: unknown): string {
  return JSON.stringify((info as { key: RecordKey }).key);
}

/** Without the times, of which only this can be known: whether it expires, and after how many thousand seconds. */
function roughly(answer: unknown): unknown {
  if (Array.isArray(answer)) return answer.map(roughly);
  if (typeof answer !== 'object' || answer === null) return answer;
  if ('refused' in answer) return { refused: roughly(answer.refused) };
  if (!('updatedAt' in answer)) return answer;
  const { updatedAt, createdAt: _, expiresAt, record, ...rest } = answer as Record<string, unknown>;
  const life = expiresAt === undefined ? 'never' : Math.round((Number(expiresAt) - Number(updatedAt)) / 1_000_000);
  return { ...rest, life, ...(record !== undefined && { record: roughly(record) }) };
}
