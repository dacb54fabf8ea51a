import { mkdirSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { type Clock, systemClock } from '../../clock.js';
import { AgentUpError } from '../../errors.js';
import { type Logger, silentLogger } from '../../logger.js';
import { checkBegin, checkCommit, checkKey, checkTtl, meets, plan, writes } from '../changes.js';
import { checkList, checkRead, checkReadLog, checkSweep } from '../check-queries.js';
import { encodeName, type RecordKey } from '../keys.js';
import type {
  BeginOptions,
  Begun,
  Change,
  CommitOptions,
  Committed,
  ListQuery,
  LogOptions,
  LogPage,
  ReadOptions,
  RecordInfo,
  Refused,
  StateRecord,
  StateStorage,
  SweepQuery,
} from '../state-storage.js';
import { answerAgain, answerOf, settingsOf } from './commit-outcome.js';
import { DiskSync, type Durability } from './durability.js';
import { fileError, isMissing } from './file-errors.js';
import { fileName, textOfFileName } from './file-name.js';
import { commitLine, headerLine, newGeneration } from './journal-lines.js';
import { Journals } from './journals.js';
import { LeaseFile } from './lease-file.js';
import { OwnerIndex } from './owner-index.js';
import { Presence } from './presence.js';
import { RecordFold } from './record-fold.js';
import { lock, unlock } from './record-lock.js';
import { containerPath, containers, recordNames, SUFFIX } from './walk.js';

export interface FileStorageOptions {
  /** The directory; made when the first record is written. */
  readonly storageDir: string;
  /** When a commit is safe from a power loss: `interval` (default) within a second, `commit` at once, `never`. */
  readonly durability?: Durability;
  /** Default time to live in seconds; never when absent. */
  readonly ttl?: number;
  readonly clock?: Clock;
  /** Hears of damaged files. */
  readonly logger?: Logger;
}

/**
 * Keeps each record in a readable file of its own: one line of JSON per commit. Several processes may share a
 * directory on a local file system. Makes no file before the first write.
 */
export class FileStorage implements StateStorage {
  readonly backend = 'file';
  readonly ttl: number | undefined;
  readonly #root: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #sync: DiskSync;
  readonly #presence: Presence;
  readonly #journals: Journals;
  #closed = false;
  readonly #onExit = (): void => this.#leave();

  constructor(options: FileStorageOptions) {
    if (options.ttl !== undefined) checkTtl(options.ttl);
    if (typeof options.storageDir !== 'string' || options.storageDir === '') {
      throw new AgentUpError('INVALID_ARGUMENT', 'storageDir is missing', { argument: 'storageDir' });
    }
    this.ttl = options.ttl;
    this.#root = resolve(options.storageDir);
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#sync = new DiskSync(options.durability ?? 'interval', this.#logger);
    this.#presence = new Presence(this.#root);
    this.#journals = new Journals(this.#logger);
  }

  async begin(key: RecordKey, options: BeginOptions): Promise<Begun> {
    this.#open();
    checkBegin(key, options);
    return this.#locked(key, (path) => {
      const now = this.#clock.now();
      const wait = this.#lease(path).take(options.token, options.leaseMs, now);
      if (wait > 0) return { busy: true, retryAfterMs: wait };
      const fold = this.#living(path, now);
      return { busy: false, record: fold && this.#copy(path, fold, options.log ?? 0) };
    });
  }

  async read(key: RecordKey, options: ReadOptions = {}): Promise<StateRecord | undefined> {
    this.#open();
    checkRead(key, options);
    return this.#guarded(key, (path) => {
      const fold = this.#living(path, this.#clock.now());
      return fold && this.#copy(path, fold, options.log ?? 0, options.fields);
    });
  }

  async readLog(key: RecordKey, options: LogOptions = {}): Promise<LogPage> {
    this.#open();
    checkReadLog(key, options);
    return this.#guarded(key, (path) => {
      const fold = this.#living(path, this.#clock.now());
      if (!fold) return { entries: [], start: 0, total: 0, dropped: 0 };
      const { logTotal: total, logDropped: dropped } = fold;
      const end = Math.max(dropped, Math.min(total, options.before ?? total));
      const start = Math.max(dropped, options.limit === undefined ? 0 : end - options.limit);
      return { entries: this.#entries(path, fold, start, end), start, total, dropped };
    });
  }

  async commit(key: RecordKey, changes: readonly Change[], options: CommitOptions = {}): Promise<Committed | Refused> {
    this.#open();
    checkCommit(key, changes, options);
    const done = await this.#locked(key, (path) => this.#commit(path, key, changes, options));
    if (done.written) await this.#sync.written(done.written.path, done.written.isNew);
    return done.answer;
  }

  async delete(key: RecordKey): Promise<boolean> {
    this.#open();
    checkKey(key);
    return this.#locked(key, (path) => {
      const journal = this.#journals.of(path);
      const fold = journal.read();
      if (!fold) return false;
      this.#erase(path, fold);
      return !fold.isExpired(this.#clock.now());
    });
  }

  async *list(query: ListQuery): AsyncIterable<RecordInfo> {
    this.#open();
    checkList(query);
    for (const info of await this.#walking(query.space, () => this.#find(query))) {
      this.#open();
      yield info;
    }
  }

  async sweep(query: SweepQuery): Promise<number> {
    this.#open();
    checkSweep(query);
    return this.#walking(query.space, () => this.#sweepAll(query));
  }

  async ping(): Promise<void> {
    this.#open();
    try {
      this.#enter();
      this.#presence.touch();
    } catch (error) {
      throw fileError(error, this.#root);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    atExit.delete(this.#onExit);
    this.#leave();
    this.#journals.clear();
  }

  async #find(query: ListQuery): Promise<RecordInfo[]> {
    const found: { text: string; info: RecordInfo }[] = [];
    let met = 0;
    for (const directory of containers(this.#root, query.space, query.scope)) {
      const names = query.owner === undefined ? recordNames(directory) : new OwnerIndex(directory).names(query.owner);
      for (const name of names) {
        if (++met % 256 === 0) await pause();
        const path = join(directory, name + SUFFIX);
        if (query.updatedBefore !== undefined && !isOlder(path, query.updatedBefore)) continue;
        const info = this.#info(path, name, query);
        if (info) found.push({ text: `${directory}/${encodeName(info.key.id)}`, info });
      }
    }
    found.sort((a, b) => (a.text < b.text ? -1 : 1));
    return found.map(({ info }) => info);
  }

  async #sweepAll(query: SweepQuery): Promise<number> {
    let removed = 0;
    let met = 0;
    for (const directory of containers(this.#root, query.space, query.scope)) {
      for (const name of recordNames(directory)) {
        if (++met % 256 === 0) await pause();
        this.#open();
        const path = join(directory, name + SUFFIX);
        if (isOlder(path, query.updatedBefore) && (await this.#sweepOne(path, query.updatedBefore))) removed++;
      }
    }
    return removed;
  }

  #commit(
    path: string,
    key: RecordKey,
    changes: readonly Change[],
    options: CommitOptions,
  ): { answer: Committed | Refused; written?: { path: string; isNew: boolean } } {
    const now = this.#clock.now();
    const journal = this.#journals.of(path);
    let fold = journal.read();
    const recent = options.commitId === undefined ? undefined : fold?.recent(options.commitId, now);
    if (recent) return { answer: answerAgain(recent, changes) };
    const lease = options.lease && this.#lease(path);
    if (options.lease && !lease?.holds(options.lease.token, now)) {
      throw new AgentUpError('LEASE_LOST', `the lease on ${key.id} was lost before the commit`, {
        recordId: key.id,
        space: key.space,
      });
    }
    const expired = fold?.isExpired(now) ?? false;
    const living = expired ? undefined : fold;
    if (!meets(living, options.condition)) {
      return { answer: { committed: false, record: living && this.#copy(path, living, 0) } };
    }
    if (!writes(changes, options)) {
      if (options.lease) lease?.settle(options.lease.token, options.lease.keepMs, now);
      return { answer: answerOf(living, now, new Map()) };
    }
    const planned = plan(living?.fields ?? new Map(), changes, options.maxFields);
    if (fold && expired) this.#erase(path, fold);
    const isNew = living === undefined;
    let text = '';
    if (isNew) {
      const header = headerLine(key, newGeneration(), now);
      text = header;
      fold = new RecordFold();
      fold.line(header.slice(0, -1));
      fold.createdAt = now;
    }
    const record = fold as RecordFold;
    const settings = settingsOf(record, planned.clearLog, planned.log.length, options, now);
    if (planned.owner?.value !== undefined && planned.owner.value !== record.owner) {
      new OwnerIndex(dirname(path)).add(planned.owner.value, basename(path, SUFFIX));
    }
    const before = record.owner;
    text += commitLine(planned, changes, settings);
    const skewed = Math.abs(now - Date.now()) > 1_000;
    journal.append(text, skewed ? now : undefined, isNew);
    record.apply(planned, settings);
    journal.keep(record);
    if (before !== undefined && before !== record.owner) {
      new OwnerIndex(dirname(path)).remove(before, basename(path, SUFFIX));
    }
    this.#journals.compactIfDue(path, record, `${path}.${this.#presence.owner.nonce}.tmp`);
    if (options.lease) lease?.settle(options.lease.token, options.lease.keepMs, now);
    return { answer: answerOf(record, now, planned.incremented), written: { path, isNew } };
  }

  async #sweepOne(path: string, updatedBefore: number): Promise<boolean> {
    try {
      return await this.#lockedAt(path, () => {
        const now = this.#clock.now();
        const fold = this.#journals.of(path).read();
        if (!fold || fold.updatedAt >= updatedBefore || this.#lease(path).isHeld(now)) return false;
        this.#erase(path, fold);
        return !fold.isExpired(now);
      });
    } catch (error) {
      this.#logger.error(`${path} was not cleaned up`, error);
      return false;
    }
  }

  #erase(path: string, fold: RecordFold): void {
    this.#journals.of(path).remove();
    if (fold.owner !== undefined) new OwnerIndex(dirname(path)).remove(fold.owner, basename(path, SUFFIX));
  }

  #info(path: string, name: string, query: ListQuery): RecordInfo | undefined {
    let fold: RecordFold | undefined;
    try {
      fold = this.#journals.of(path).read();
    } catch (error) {
      if (!isMissing(error)) this.#logger.error(`${path} is left out of the list`, error);
      return undefined;
    }
    const id = fold?.header?.id ?? textOfFileName(name);
    if (!fold || id === undefined || fold.isExpired(this.#clock.now())) return undefined;
    if (query.owner !== undefined && fold.owner !== query.owner) return undefined;
    if (query.updatedBefore !== undefined && fold.updatedAt >= query.updatedBefore) return undefined;
    if (query.prefix !== undefined && !id.startsWith(query.prefix)) return undefined;
    const { owner, createdAt, updatedAt, expiresAt } = fold;
    const key = { space: query.space, scope: fold.header?.scope ?? [], id };
    return { key, owner, createdAt, updatedAt, expiresAt };
  }

  #living(path: string, now: number): RecordFold | undefined {
    const fold = this.#journals.of(path).read();
    return fold?.isExpired(now) ? undefined : fold;
  }

  #copy(path: string, fold: RecordFold, log: number, only?: readonly string[]): StateRecord {
    let { fields } = fold;
    if (only) {
      fields = new Map();
      for (const field of only) {
        const token = fold.fields.get(field);
        if (token !== undefined) fields.set(field, token);
      }
    } else fields = new Map(fields);
    const { logTotal, logDropped, version, owner, createdAt, updatedAt, expiresAt } = fold;
    const start = Math.max(logDropped, logTotal - log);
    return {
      fields,
      log: this.#entries(path, fold, start, logTotal),
      logTotal,
      logDropped,
      version,
      owner,
      createdAt,
      updatedAt,
      expiresAt,
    };
  }

  #entries(path: string, fold: RecordFold, start: number, end: number): string[] {
    if (start >= end) return [];
    const held = fold.logTotal - fold.tail.length;
    if (start >= held) return fold.tail.slice(start - held, end - held);
    return this.#journals.of(path).entries(start, end);
  }

  #lease(path: string): LeaseFile {
    return new LeaseFile(`${path}.lease`, this.#presence.owner);
  }

  #pathOf(key: RecordKey): string {
    return join(containerPath(this.#root, key.space, key.scope), fileName(key.id) + SUFFIX);
  }

  #guarded<R>(key: RecordKey, call: (path: string) => R): R {
    const path = this.#pathOf(key);
    for (let tries = 0; ; tries++) {
      try {
        return call(path);
      } catch (error) {
        // Read without the lock, a file may be removed between two looks at it.
        if (!isMissing(error) || tries >= 10) throw fileError(error, path);
      }
    }
  }

  async #walking<R>(space: string, walk: () => Promise<R>): Promise<R> {
    try {
      return await walk();
    } catch (error) {
      throw fileError(error, join(this.#root, space));
    }
  }

  #locked<R>(key: RecordKey, call: (path: string) => R): Promise<R> {
    return this.#lockedAt(this.#pathOf(key), call);
  }

  /** Runs `call` under the record's lock. It must not wait: nothing of this process can come in between then. */
  async #lockedAt<R>(path: string, call: (path: string) => R): Promise<R> {
    const lockPath = `${path}.lock`;
    try {
      this.#enter();
      try {
        await lock(lockPath, this.#presence.ownerFile);
      } catch (error) {
        if (!isMissing(error)) throw error;
        // The directory is new, or somebody emptied it.
        this.#enter(true);
        mkdirSync(dirname(path), { recursive: true });
        await lock(lockPath, this.#presence.ownerFile);
      }
      try {
        return call(path);
      } finally {
        unlock(lockPath);
      }
    } catch (error) {
      throw fileError(error, path);
    }
  }

  #enter(again = false): void {
    this.#presence.enter(again);
    atExit.add(this.#onExit);
  }

  #leave(): void {
    this.#sync.flush();
    this.#presence.leave();
  }

  #open(): void {
    if (this.#closed) {
      throw new AgentUpError('STORAGE_CLOSED', 'the file storage has been closed', { backend: 'file' });
    }
  }
}

/** One listener for all storages of the process, which may be many. */
const atExit = new Set<() => void>();
process.on('exit', () => {
  for (const leave of atExit) leave();
});

function isOlder(path: string, moment: number): boolean {
  try {
    return statSync(path).mtimeMs < moment;
  } catch {
    return false;
  }
}

function pause(): Promise<void> {
  return new Promise((done) => setImmediate(done));
}
