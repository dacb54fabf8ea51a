import { setTimeout as delay } from 'node:timers/promises';
import { AgentUpError, isAgentUpError } from '../../errors.js';
import { uniqueId } from '../../unique-id.js';
import { checkBegin, checkCommit, checkKey, writes } from '../changes.js';
import { checkList, checkRead, checkReadLog, checkSweep } from '../check-queries.js';
import { encodeName, type RecordKey } from '../keys.js';
import {
  type BeginOptions,
  type Begun,
  type Change,
  type CommitOptions,
  type Committed,
  type ListQuery,
  type LogOptions,
  type LogPage,
  RESERVATION_MS,
  type ReadOptions,
  type RecordInfo,
  type Refused,
  type StateRecord,
  type StateStorage,
  type SweepQuery,
} from '../state-storage.js';
import { type DirectAnswer, DirectBegin } from './direct-begin.js';
import { HeldLeases } from './held-leases.js';
import { LostLeases } from './lost-leases.js';
import {
  commitArguments,
  duration,
  isApplied,
  parseAttributes,
  parseBegun,
  parseCommitted,
  parseFields,
  parseRecord,
  parseTokens,
  scriptError,
} from './record-codec.js';
import { RecordIndex, type SeenEntry } from './record-index.js';
import { script } from './scripts.js';
import { ValkeyConnection } from './valkey-connection.js';
import { type ReplyCause, replyCode } from './valkey-errors.js';
import { doneKey, leaseKey, logKey, memberOf, repliesKey, ValkeyKeys } from './valkey-keys.js';
import { checkedOptions, type ValkeyStorageOptions } from './valkey-storage-options.js';

/** Log entries read in one step: about half a millisecond of the server's time. */
const LOG_PAGE = 1_000;
/** Records deleted in one step. */
const SWEEP_PAGE = 250;

/**
 * Keeps records in Valkey (Redis 7 works too), for any number of processes. `begin` and `commit` are one script call
 * each; times are the server's. The connection is made by the first call and made again when it was lost.
 */
export class ValkeyStorage implements StateStorage {
  readonly backend = 'valkey';
  readonly ttl: number | undefined;
  readonly carriesReplies = true;
  readonly #connection: ValkeyConnection;
  readonly #keys: ValkeyKeys;
  readonly #index: RecordIndex;
  /** Commits wait for replicas. */
  readonly #replicated: boolean;
  readonly #held: HeldLeases;
  readonly #direct: DirectBegin;
  readonly #lost = new LostLeases((key, token) => this.#release(key, token));
  #closing: Promise<void> | undefined;

  /** @throws INVALID_ARGUMENT, TTL_INVALID */
  constructor(options: ValkeyStorageOptions) {
    const { target, keyPrefix, ttl, timeoutMs, durability, tls, logger } = checkedOptions(options);
    this.ttl = ttl;
    this.#keys = new ValkeyKeys(keyPrefix);
    this.#replicated = durability !== undefined;
    this.#connection = new ValkeyConnection({ target, timeoutMs, tls, logger, replicas: durability?.replicas });
    this.#direct = new DirectBegin(this.#connection);
    this.#index = new RecordIndex(this.#connection, this.#keys, logger, timeoutMs);
    this.#held = new HeldLeases({
      timeoutMs,
      begin: (key, token, leaseMs) => this.#beginAgain(key, token, leaseMs),
      commit: (key, changes, options) => this.#commit(key, changes, options),
    });
  }

  async begin(key: RecordKey, options: BeginOptions): Promise<Begun> {
    this.#open();
    checkBegin(key, options);
    const { token, leaseMs } = options;
    const record = this.#keys.record(key);
    this.#lost.found(token);
    try {
      let direct: DirectAnswer | undefined;
      if (this.#direct.suits(token)) {
        const replies = await this.#connection.transaction(this.#direct.steps(record, options));
        direct = this.#direct.answer(replies, options);
      }
      if (!direct?.granted) return await this.#beginByScript(key, options, direct);
      this.#lost.giveBack();
      if (direct.found) this.#index.saw(record);
      return { busy: false, record: direct.found };
    } catch (error) {
      // The answer may have been lost after the lease was granted.
      if (isAgentUpError(error, 'STORAGE_UNAVAILABLE')) this.#lost.lose(key, token, leaseMs);
      throw error;
    }
  }

  async read(key: RecordKey, options: ReadOptions = {}): Promise<StateRecord | undefined> {
    this.#open();
    checkRead(key, options);
    const { log = 0, fields, idempotencyKey = '', replies = false } = options;
    if (log === 0 && !fields && idempotencyKey === '' && !replies) return this.#readFields(key);
    const args = [
      String(log),
      idempotencyKey,
      replies ? '1' : '0',
      ...(fields ? ['some', ...fields.filter((field) => field !== '')] : ['all']),
    ];
    try {
      return parseRecord(await this.#run('read', key, args, true), key);
    } catch (error) {
      throw scriptError(error, key, args);
    }
  }

  /** All of a record but its log: what a plain command brings needs no script. */
  async #readFields(key: RecordKey): Promise<StateRecord | undefined> {
    try {
      return parseFields(await this.#connection.command('hgetall', [this.#keys.record(key)]), key);
    } catch (error) {
      throw scriptError(error, key, []);
    }
  }

  async readLog(key: RecordKey, options: LogOptions = {}): Promise<LogPage> {
    this.#open();
    checkReadLog(key, options);
    const wanted = options.limit ?? Number.POSITIVE_INFINITY;
    let page = await this.#logPage(key, wanted, options.before);
    const newer: string[][] = [];
    // Older entries step by step: positions do not move, and one long reply would hold up the whole server.
    for (let have = page.entries.length; have < wanted && page.start > page.dropped; have += page.entries.length) {
      const older = await this.#logPage(key, wanted - have, page.start);
      // Cleared meanwhile, or cut by a cap: what is there now counts.
      if (older.total < page.total || older.entries.length === 0) return this.readLog(key, options);
      newer.unshift(page.entries);
      page = { ...older, total: page.total };
    }
    return newer.length === 0 ? page : { ...page, entries: [page.entries, ...newer].flat() };
  }

  async commit(key: RecordKey, changes: readonly Change[], options: CommitOptions = {}): Promise<Committed | Refused> {
    this.#open();
    checkCommit(key, changes, options);
    const { lease } = options;
    if (lease) this.#lost.found(lease.token);
    try {
      const answer = await (lease && this.#connection.cluster
        ? this.#held.commit(key, changes, options, lease)
        : this.#commit(key, changes, options));
      this.#lost.giveBack();
      return answer;
    } catch (error) {
      const released = lease && lease.keepMs === undefined && !writes(changes, options);
      // Nobody will ask for this lease again, so that a release that did not arrive has to be made up for.
      if (released && isAgentUpError(error, 'STORAGE_UNAVAILABLE')) this.#lost.lose(key, lease.token);
      throw error;
    }
  }

  async delete(key: RecordKey): Promise<boolean> {
    this.#open();
    checkKey(key);
    const member = memberOf(key);
    this.#index.forget(this.#keys.record(key));
    try {
      const seen = this.#index.due(key);
      // What the entry was before the record went: elsewhere than on a cluster both are answered in order.
      if (this.#connection.cluster) await seen;
      const [due, deleted] = await Promise.all([seen, this.#run('delete', key, [], false)]);
      if (due !== undefined) this.#index.dropAside(key.space, [{ member, due }]);
      return deleted === 1;
    } catch (error) {
      throw scriptError(error, key, []);
    }
  }

  async *list(query: ListQuery): AsyncIterable<RecordInfo> {
    this.#open();
    checkList(query);
    for await (const info of this.#index.list(query)) {
      this.#open();
      yield info;
    }
  }

  async spaces(): Promise<string[]> {
    this.#open();
    return this.#index.spaces();
  }

  async sweep(query: SweepQuery): Promise<number> {
    this.#open();
    checkSweep(query);
    const { space, scope, updatedBefore } = query;
    let removed = 0;
    for await (const page of this.#index.stale(space, scope, updatedBefore)) {
      for (let i = 0; i < page.length; i += SWEEP_PAGE) {
        removed += await this.#sweepPage(space, page.slice(i, i + SWEEP_PAGE), updatedBefore);
      }
    }
    return removed;
  }

  async ping(): Promise<void> {
    this.#open();
    await this.#connection.command('ping', []);
  }

  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  /** Lets what is under way come to its end, which the time-out bounds. */
  async #end(): Promise<void> {
    do {
      await this.#index.idle();
      await delay(1);
    } while (this.#connection.pending > 0);
    this.#connection.close();
  }

  /** `direct`: what had been tried before. */
  async #beginByScript(key: RecordKey, options: BeginOptions, direct: DirectAnswer | undefined): Promise<Begun> {
    const { token, leaseMs, log = 0, idempotencyKey } = options;
    const record = this.#keys.record(key);
    const args = [encodeName(token), duration(leaseMs), String(log), String(RESERVATION_MS)];
    if (idempotencyKey !== undefined) args.push(idempotencyKey);
    const since = performance.now();
    try {
      const reply = await this.#connection.run(script('begin'), this.#keysOf(record), args, { repeatable: true });
      this.#lost.giveBack();
      this.#direct.told(token, typeof reply !== 'number');
      if (direct?.granted === false && !direct.held) this.#direct.forbid();
      if (typeof reply === 'number') return { busy: true, retryAfterMs: reply };
      const found = parseRecord(reply, key);
      if (found) this.#index.saw(record);
      if (this.#connection.cluster) this.#held.granted(token, since, leaseMs, found);
      return { busy: false, record: found };
    } catch (error) {
      // The transaction may have taken the lease, or one before it whose answer was lost.
      if (direct && !isAgentUpError(error, 'STORAGE_UNAVAILABLE')) {
        await this.#release(key, token).catch(() => this.#lost.lose(key, token, leaseMs));
      }
      throw scriptError(error, key, args);
    }
  }

  /** Gives back a lease, whatever the record is like. */
  #release(key: RecordKey, token: string): Promise<unknown> {
    const lease = leaseKey(this.#keys.record(key));
    return this.#connection.run(script('release'), [lease], [encodeName(token)], { repeatable: true });
  }

  async #commit(key: RecordKey, changes: readonly Change[], given: CommitOptions): Promise<Committed | Refused> {
    const writing = writes(changes, given);
    const releases = given.lease !== undefined && given.lease.keepMs === undefined;
    // With an id it can be sent again. A client that is not ours may send things again without asking.
    const wrote = writing && this.#replicated ? isApplied : undefined;
    const named = given.commitId !== undefined || !(this.#connection.foreign || wrote);
    const options = named ? given : { ...given, commitId: uniqueId() };
    const { lease, commitId } = options;
    const record = this.#keys.record(key);
    const announce = (): Promise<void> => {
      const owner = changes.findLast((change) => change.op === 'owner')?.owner;
      return this.#index.announce(key, owner, given.carried?.updatedAt);
    };
    const repeatable = commitId !== undefined || (!writing && lease !== undefined);
    const keys = this.#keysOf(record);
    if (this.#connection.cluster && commitId !== undefined && !releases)
      keys.push(doneKey(record, encodeName(commitId)));

    let indexed = writing && !this.#index.knows(record);
    let announced = indexed ? announce() : undefined;
    for (;;) {
      const args = commitArguments(changes, options, indexed);
      try {
        // Sent in one go with the entry, and behind it; only a cluster's nodes have to be waited for.
        announced?.catch(() => {});
        if (this.#connection.cluster) await announced;
        const reply = await this.#connection.run(script('commit'), keys, args, { repeatable, wrote });
        if (reply === 0) {
          indexed = true;
          announced = announce();
          continue;
        }
        if (!isApplied(reply)) return { committed: false, record: parseRecord(reply, key) };
        const committed = parseCommitted(reply, changes);
        const { answer } = committed;
        if (writing) this.#index.confirm(record, key, committed, indexed);
        if (!lease?.next || !Array.isArray(reply)) return answer;
        if (!this.#closing) return { ...answer, begun: { record: parseBegun(reply, key) } };
        // Its turn could not commit any more.
        this.#lost.lose(key, lease.next.token);
        this.#lost.giveBack();
        return answer;
      } catch (error) {
        // A release that was sent twice finds the lease gone: by the first of the two, or it had ended before.
        if (releases && !writing && isLostTwice(error)) return this.#asItIs(key);
        throw scriptError(error, key, args, options.maxFields);
      }
    }
  }

  /** What a commit that writes nothing answers. */
  async #asItIs(key: RecordKey): Promise<Committed> {
    const record = await this.read(key, { fields: [] });
    const { version = 0, updatedAt = Date.now(), expiresAt, logTotal = 0 } = record ?? {};
    return { committed: true, version, updatedAt, expiresAt, incremented: new Map(), logTotal };
  }

  /** A `begin` for a lease that its holder had already, which keeps no place for it where somebody else has it. */
  async #beginAgain(key: RecordKey, token: string, leaseMs: number): Promise<Begun> {
    const args = [encodeName(token), duration(leaseMs), '0', '1'];
    const keys = this.#keysOf(this.#keys.record(key));
    const reply = await this.#connection.run(script('begin'), keys, args, { repeatable: true });
    if (typeof reply === 'number') return { busy: true, retryAfterMs: reply };
    return { busy: false, record: parseRecord(reply, key) };
  }

  async #sweepPage(space: string, page: readonly SeenEntry[], updatedBefore: number): Promise<number> {
    const records = page.map(({ member }) => this.#keys.recordOf(space, member));
    const groups = records.map((record) => [record, logKey(record), leaseKey(record), repliesKey(record)]);
    const answers = await this.#connection.runEach(script('sweep'), groups, [String(updatedBefore)]);
    const gone: SeenEntry[] = [];
    for (const [i, entry] of page.entries()) {
      const answer = answers[i];
      if (answer === 0 || answer === 1) {
        gone.push(entry);
        this.#index.forget(records[i] as string);
      } else if (answer !== -1) {
        const attributes = parseAttributes(String(answer));
        if (attributes) await this.#index.refresh(space, entry.member, attributes);
      }
    }
    await this.#index.drop(space, gone);
    return answers.filter((answer) => answer === 1).length;
  }

  async #logPage(key: RecordKey, limit: number, before: number | undefined): Promise<LogPage> {
    const args = [String(Math.min(limit, LOG_PAGE)), before === undefined ? '' : String(before)];
    try {
      const reply = (await this.#run('read-log', key, args, true)) as [number?, number?, number?, Buffer[]?];
      const [start = 0, total = 0, dropped = 0, entries = []] = reply;
      return { entries: parseTokens(entries), start, total, dropped };
    } catch (error) {
      throw scriptError(error, key, args);
    }
  }

  #run(name: string, key: RecordKey, args: readonly string[], repeatable: boolean): Promise<unknown> {
    const record = this.#keys.record(key);
    const keys = this.#connection.cluster ? [record, logKey(record), repliesKey(record)] : [record];
    return this.#connection.run(script(name), keys, args, { repeatable });
  }

  /** The keys of a call: all of them on a cluster, elsewhere the scripts make them from the first. */
  #keysOf(record: string): string[] {
    if (!this.#connection.cluster) return [record];
    return [record, logKey(record), leaseKey(record), repliesKey(record)];
  }

  #open(): void {
    if (this.#closing) {
      throw new AgentUpError('STORAGE_CLOSED', 'the Valkey storage has been closed', { backend: 'valkey' });
    }
  }
}

/** Does the server say that a lease is gone to what was sent before, without an answer? */
function isLostTwice(error: unknown): boolean {
  const { cause } = error as { cause?: ReplyCause };
  return replyCode(cause) === 'LEASE_LOST' && (cause?.lost ?? 0) > 0;
}
