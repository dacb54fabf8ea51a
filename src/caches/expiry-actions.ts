import { randomBytes } from 'node:crypto';
import { AgentUpError, isAgentUpError } from '../errors.js';
import { decode, encode, integerOf, refuseSealed, type Token } from '../json.js';
import { rounds } from '../rounds.js';
import { checkTtl } from '../storage/changes.js';
import { type DueEntry, DueList } from '../storage/due-list.js';
import { MAX_ID_LENGTH, type RecordKey } from '../storage/keys.js';
import type { Change, StateRecord } from '../storage/state-storage.js';
import { checkName } from './cache-keys.js';
import type { CacheParts } from './cache-options.js';

/** What is to be done, by action and identifier; and the same by time, as hints to it. */
const ACTIONS = 'cache-actions';
const DUE = 'cache-due';
/** A hint without its action is left alone for so long: whoever makes both may be between the two. */
const UNFINISHED_MS = 60_000;

/** One entry whose time is up. */
export interface ExpiredEntry {
  readonly action: string;
  /** Exactly as it was given. */
  readonly identifier: string;
  /** What was given with it. */
  readonly data: unknown;
}

export type ExpiryHandler = (entry: ExpiredEntry) => void | Promise<void>;

export interface ExpiryWorkerOptions {
  /** How often to look for due entries, in milliseconds. Default 1000. */
  readonly everyMs?: number | undefined;
  /** After so many milliseconds without a sign of life of its worker an action is run by another. Default 30000. */
  readonly leaseMs?: number | undefined;
  /** How long to wait after a handler threw, in milliseconds, doubled each time up to an hour. Default 30000. */
  readonly retryMs?: number | undefined;
}

/**
 * Does something when time is up, once across all processes, also when it fell due while none ran. Nothing of the
 * server is configured for it: workers look at what is due, in an index by time.
 */
export class ExpiryActions {
  readonly #parts: CacheParts;
  readonly #tenantId: string;

  /** @internal made by `createCaches` */
  constructor(parts: CacheParts, tenantId: string) {
    this.#parts = parts;
    this.#tenantId = tenantId;
  }

  /** Runs `action` for `identifier` in so many seconds. The same again moves its time. @throws TTL_INVALID */
  async set(
    action: string,
    identifier: string,
    { ttl, data = null }: { readonly ttl: number; readonly data?: unknown },
  ) {
    checkTtl(ttl);
    if ((ttl as unknown) === 'none')
      throw new AgentUpError('TTL_INVALID', 'an action needs a time', { argument: 'ttl' });
    await this.#schedule(action, identifier, this.#parts.now() + ttl * 1000, [
      { op: 'set', field: 'data', value: encode(data) },
      { op: 'set', field: 'tries', value: '0' },
    ]);
  }

  /** Stops it. @returns whether it was still to come */
  async delete(action: string, identifier: string): Promise<boolean> {
    const key = this.#key(action, identifier);
    const due = dueOf(await this.#parts.storage.read(key));
    const deleted = await this.#parts.storage.delete(key);
    // Of one that is being set at this moment the hint must stay; a worker sees what became of it.
    if (due !== undefined) await this.#due(action).removeOlder(due, identifier, this.#parts.now() - UNFINISHED_MS);
    return deleted && due !== undefined;
  }

  /** Seconds until it runs, 0 where it is late; `undefined` where nothing is to come. */
  async getTtl(action: string, identifier: string): Promise<number | undefined> {
    const due = dueOf(await this.#parts.storage.read(this.#key(action, identifier)));
    return due === undefined ? undefined : Math.max(0, Math.ceil((due - this.#parts.now()) / 1000));
  }

  /**
   * Runs `handler` for each entry of `action` whose time is up, one after the other, until it is stopped. One that
   * throws is tried again later; of a process that dies in it another one takes over when its lease has ended.
   * @returns stops it, and waits for the handler that runs
   */
  onExpired(action: string, handler: ExpiryHandler, options: ExpiryWorkerOptions = {}): () => Promise<void> {
    checkName(action, 'action');
    const { everyMs = 1000 } = options;
    let isStopped = false;
    const stop = rounds(
      everyMs,
      () => this.#runAll(action, handler, options, () => isStopped),
      (error) => this.#parts.logger.error(error, `the action ${action} could not be looked after`),
    );
    return () => {
      isStopped = true;
      return stop();
    };
  }

  /**
   * Runs what is due now, once. An entry that cannot be read keeps none of the others waiting.
   * @returns how many handlers ran to their end
   * @throws what was wrong with the first entry that could not be read or settled, once the others have run
   */
  async runDue(action: string, handler: ExpiryHandler, options: ExpiryWorkerOptions = {}): Promise<number> {
    return this.#runAll(action, handler, options, () => false);
  }

  async #runAll(
    action: string,
    handler: ExpiryHandler,
    options: ExpiryWorkerOptions,
    isStopped: () => boolean,
  ): Promise<number> {
    let ran = 0;
    let failure: { readonly error: unknown } | undefined;
    for await (const hint of this.#hints(action)) {
      if (isStopped()) break;
      try {
        if (await this.#run(action, hint, handler, options)) ran++;
      } catch (error) {
        // Of a storage that does not answer the others are not asked for either.
        if (isAgentUpError(error, 'STORAGE_UNAVAILABLE') || isAgentUpError(error, 'STORAGE_CLOSED')) throw error;
        failure ??= { error };
      }
    }
    if (failure) throw failure.error;
    return ran;
  }

  /** All that are due now: behind a thousand that lead nowhere there may be one that does not. */
  async *#hints(action: string): AsyncGenerator<DueEntry> {
    const list = this.#due(action);
    const now = this.#parts.now();
    let page = await list.due(now);
    while (page.length > 0) {
      yield* page;
      page = await list.due(now, { after: page[page.length - 1]?.key.id ?? '' });
    }
  }

  async #run(
    action: string,
    hint: DueEntry,
    handler: ExpiryHandler,
    { leaseMs = 30_000, retryMs = 30_000 }: ExpiryWorkerOptions,
  ): Promise<boolean> {
    const { storage, logger } = this.#parts;
    const { name: identifier, at: due } = hint;
    const key = this.#key(action, identifier);
    const token = randomBytes(12).toString('hex');
    const begun = await storage.begin(key, { token, leaseMs });
    // Somebody else is at it.
    if (begun.busy) return false;
    const { record } = begun;
    if (!(await this.#isDue(key, record, due, token))) {
      // It was moved, stopped, or is done; or whoever makes it has come as far as the hint.
      await storage.commit(key, [], { lease: { token } });
      // Long before the action was written last: it was moved, or is done.
      const isOvertaken = (record?.updatedAt ?? 0) - hint.madeAt > UNFINISHED_MS;
      if (isOvertaken || due < this.#parts.now() - UNFINISHED_MS) await this.#due(action).remove(hint);
      return false;
    }
    const renewal = setInterval(() => {
      storage.commit(key, [], { lease: { token, keepMs: leaseMs } }).catch(() => {});
    }, leaseMs / 3);
    renewal.unref();
    try {
      await handler({ action, identifier, data: decode(record?.fields.get('data') ?? 'null') });
    } catch (error) {
      const tries = integerOf(record?.fields.get('tries') ?? '0') ?? 0;
      const pause = Math.min(retryMs * 2 ** tries, 3_600_000);
      logger.error(error, `the action ${action} failed; it is tried again in ${Math.round(pause / 1000)} s`);
      await this.#later(key, hint, record as StateRecord, token, this.#parts.now() + pause, tries + 1);
      return false;
    } finally {
      clearInterval(renewal);
    }
    // Set again while it ran, it stays, also for the same moment. A version alone begins anew with what was deleted.
    const condition = {
      version: record?.version ?? 0,
      fields: new Map<string, Token>([['due', String(due)]]),
    };
    const done = await storage.commit(key, [{ op: 'clearFields' }], {
      lease: { token },
      condition,
      expiry: { set: 1 },
    });
    if (!done.committed) await storage.commit(key, [], { lease: { token } });
    if (done.committed || dueOf(done.record) !== due) await this.#due(action).remove(hint);
    return true;
  }

  /** @throws KEY_MISSING, with the lease given back */
  async #isDue(key: RecordKey, record: StateRecord | undefined, due: number, token: string): Promise<boolean> {
    try {
      return dueOf(record) === due;
    } catch (error) {
      await this.#parts.storage.commit(key, [], { lease: { token } });
      throw error;
    }
  }

  async #later(key: RecordKey, hint: DueEntry, record: StateRecord, token: string, at: number, tries: number) {
    const { storage } = this.#parts;
    const [, action = ''] = key.scope;
    await this.#due(action).add(at, key.id);
    const condition = { fields: new Map([['due', record.fields.get('due')]]) };
    const changes: Change[] = [
      { op: 'set', field: 'due', value: String(at) },
      { op: 'set', field: 'tries', value: String(tries) },
    ];
    const moved = await storage.commit(key, changes, { lease: { token }, condition });
    if (!moved.committed) await storage.commit(key, [], { lease: { token } });
    await this.#due(action).remove(hint);
  }

  async #schedule(action: string, identifier: string, at: number, changes: readonly Change[]): Promise<void> {
    const { storage } = this.#parts;
    const key = this.#key(action, identifier);
    // The hint first: one that leads nowhere is found out, an action without one would never run.
    await this.#due(action).add(at, identifier);
    await storage.commit(key, [{ op: 'set', field: 'due', value: String(at) }, ...changes], {
      expiry: { set: 'none' },
    });
  }

  #key(action: string, identifier: string): RecordKey {
    checkName(action, 'action');
    checkName(identifier, 'identifier', MAX_ID_LENGTH - DueList.PREFIX);
    return { space: ACTIONS, scope: [this.#tenantId, action], id: identifier };
  }

  #due(action: string): DueList {
    return new DueList(this.#parts.storage, DUE, [this.#tenantId, action]);
  }
}

function dueOf(record: StateRecord | undefined): number | undefined {
  const due = record?.fields.get('due');
  if (due === undefined) return undefined;
  // Or what cannot be read would pass for what is not to come.
  refuseSealed(due);
  return integerOf(due);
}
