import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';
import { encode } from '../../src/json.js';
import type { RecordKey } from '../../src/storage/keys.js';
import type { Change, CommitOptions, StateRecord, StateStorage } from '../../src/storage/state-storage.js';
import type { TestClock } from '../support/test-clock.js';
import { KEYS, type Step, WORKS } from './arbitraries.js';
import { type ModelChange, type ModelOptions, PlainModel, sorted } from './plain-model.js';

/** A storage to be held against the model. */
export interface Subject {
  open(): StateStorage;
  /** Where there is none time is real, and what depends on it is compared roughly. */
  clock?: TestClock;
}

/** Drives a storage and the model through the same steps; every difference is a failure. */
export class ModelPair {
  readonly #subject: Subject;
  readonly #space = `pair-${randomBytes(6).toString('hex')}`;
  readonly #model: PlainModel;
  /** The last commit with an id on each record, to be sent again. */
  readonly #sent = new Map<number, Step & { do: 'commit' } & { born: unknown }>();
  /** The tokens in use, by record and by who uses them, and those that had their lease. */
  readonly #tokens = new Map<string, string>();
  readonly #served = new Set<string>();
  #ids = 0;
  #storage: StateStorage;

  constructor(subject: Subject) {
    this.#subject = subject;
    this.#model = new PlainModel(() => this.#now());
    this.#storage = subject.open();
  }

  async step(step: Step): Promise<void> {
    switch (step.do) {
      case 'commit': {
        // What writes nothing leaves nothing that an id could be kept with.
        const named =
          step.named &&
          (step.changes.length > 0 || step.options.expiry !== undefined || step.options.idempotency !== undefined);
        const options = named ? { ...step.options, commitId: `c${this.#ids++}` } : step.options;
        await this.#commit(step.key, step.changes, options);
        if (named) this.#sent.set(step.key, { ...step, options, born: this.#born(step.key) });
        return;
      }
      case 'resend': {
        const sent = this.#sent.get(step.key);
        // With the record may go what is known of its commits.
        if (!sent || sent.born !== this.#born(step.key)) return;
        return this.#commit(step.key, sent.changes, sent.options);
      }
      case 'begin': {
        this.#sent.delete(step.key);
        const { leaseMs, log, idempotencyKey } = step;
        const key = this.#key(step.key);
        const token = this.#tokenFor(step);
        const begun = await this.#storage.begin(key, {
          token,
          leaseMs,
          log,
          ...(idempotencyKey && { idempotencyKey }),
        });
        const wanted = this.#model.begin(key, token, leaseMs, log, idempotencyKey);
        this.#same(begun.busy ? 'busy' : shape(begun.record), wanted);
        if (!begun.busy) this.#served.add(token);
        return;
      }
      case 'readLog': {
        const { limit, before } = step;
        const page = await this.#storage.readLog(this.#key(step.key), { limit, before });
        return this.#same(page, this.#model.readLog(this.#key(step.key), limit, before));
      }
      case 'delete':
        this.#sent.delete(step.key);
        return this.#same(await this.#storage.delete(this.#key(step.key)), this.#model.delete(this.#key(step.key)));
      case 'list':
        return this.#list(step);
      case 'sweep': {
        this.#sent.clear();
        const query = { ...(step.scope && { scope: step.scope }), updatedBefore: this.#now() - step.age };
        return this.#same(await this.#storage.sweep({ space: this.#space, ...query }), this.#model.sweep(query));
      }
      case 'advance':
        return this.#subject.clock?.advance(step.ms);
      case 'reopen':
        await this.#storage.close();
        this.#storage = this.#subject.open();
    }
  }

  /** Every record must be the same on both sides. */
  async check(): Promise<void> {
    for (const index of KEYS.keys()) {
      for (const idempotencyKey of WORKS) {
        const record = await this.#storage.read(this.#key(index), { log: 99, idempotencyKey });
        this.#same(shape(record), this.#model.read(this.#key(index), 99, idempotencyKey));
      }
    }
  }

  async close(): Promise<void> {
    for (const index of KEYS.keys()) await this.#storage.delete(this.#key(index));
    await this.#storage.close();
  }

  async #commit(index: number, changes: readonly ModelChange[], named: ModelOptions): Promise<void> {
    const key = this.#key(index);
    const { lease } = named;
    const token = lease && (this.#tokens.get(`${index} ${lease.token}`) ?? lease.token);
    const given = lease && token ? { ...named, lease: { ...lease, token } } : named;
    const before = await this.#storage.read(key);
    const { condition, idempotency, ...rest } = given;
    const { current, exists, fields } = condition ?? {};
    const options: CommitOptions = {
      ...rest,
      ...(idempotency && { idempotency: { ...idempotency, reply: encode(idempotency.reply) } }),
      ...(condition && {
        condition: {
          ...(exists !== undefined && { exists }),
          ...(current !== undefined && { version: (before?.version ?? 0) + (current ? 0 : 1) }),
          ...(fields && { fields: new Map(fields.map(([name, value]) => [name, tokenOf(value)])) }),
        },
      }),
    };
    let answer: unknown;
    try {
      const committed = await this.#storage.commit(key, changes.map(storageChange), options);
      if (committed.committed) {
        const { version: _, committed: __, incremented, ...attributes } = committed;
        answer = { ...attributes, incremented: sorted(incremented) };
      } else answer = { refused: shape(committed.record) };
    } catch (error) {
      answer = { error: (error as { code: string }).code };
    }
    this.#same(answer, this.#model.commit(key, changes, given));
  }

  async #list({ scope, prefix, owner, age }: Step & { do: 'list' }): Promise<void> {
    const query = {
      ...(scope && { scope }),
      ...(prefix !== undefined && { prefix }),
      ...(owner !== undefined && { owner }),
      ...(age !== undefined && { updatedBefore: this.#now() - age }),
    };
    const infos: unknown[] = [];
    for await (const info of this.#storage.list({ space: this.#space, ...query })) infos.push(info);
    const wanted = this.#model.list(query);
    // An order is promised inside one scope only.
    if (!scope) for (const list of [infos, wanted]) list.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
    this.#same(infos, wanted);
  }

  /** A token is used for one turn: once its lease has ended, who asks takes a new one. */
  #tokenFor({ key, token: name }: { key: number; token: string }): string {
    const token = this.#tokens.get(`${key} ${name}`);
    if (token && (!this.#served.has(token) || this.#model.holds(this.#key(key), token))) return token;
    const fresh = `${name}${this.#ids++}`;
    this.#tokens.set(`${key} ${name}`, fresh);
    return fresh;
  }

  /** When the record that is there was made. */
  #born(index: number): unknown {
    return (this.#model.read(this.#key(index), 0) as { createdAt: number } | undefined)?.createdAt;
  }

  #now(): number {
    return this.#subject.clock?.now() ?? Date.now();
  }

  #key(index: number): RecordKey {
    const { scope, id } = KEYS[index] as (typeof KEYS)[number];
    return { space: this.#space, scope, id };
  }

  #same(actual: unknown, wanted: unknown): void {
    const [is, should] = this.#subject.clock ? [actual, wanted] : [roughly(actual), roughly(wanted)];
    // A matcher costs more than the storage, and is good for showing a difference.
    if (!isDeepStrictEqual(is, should)) expect(is).toStrictEqual(should);
  }
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

/** A record without its version, which the model does not count. */
function shape(record: StateRecord | undefined): unknown {
  if (!record) return undefined;
  const { version: _, fields, reply, ...rest } = record;
  return { ...rest, fields: sorted(fields), ...(reply !== undefined && { reply }) };
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
  const { updatedAt, createdAt: _, expiresAt, ...rest } = answer as Record<string, unknown>;
  const life = expiresAt === undefined ? 'never' : Math.round((Number(expiresAt) - Number(updatedAt)) / 1_000_000);
  return { ...rest, life };
}
