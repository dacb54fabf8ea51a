import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { type Clock, systemClock } from '../../clock.js';
import { AgentUpError } from '../../errors.js';
import { type Logger, silentLogger } from '../../logger.js';
import { checkBegin, checkCommit, checkKey, checkTtl, meets, plan, writes } from '../changes.js';
import { checkList, checkRead, checkReadLog, checkSweep } from '../check-queries.js';
import type { RecordKey } from '../keys.js';
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
import { DiskSync, type Durability, syncNow } from './durability.js';
import { fileError, isMissing } from './file-errors.js';
import { fileName, textOfFileName } from './file-name.js';
import { Journal } from './journal.js';
import { LeaseFile } from './lease-file.js';
import { OwnerIndex } from './owner-index.js';
import { type Owner, stateOf, thisOwner } from './process-owner.js';
import { commitLine, headerLine, type LineSettings, type RecentCommit, RecordFold } from './record-fold.js';
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

/** Records whose folded state is kept in memory. */
const CACHED = 1_000;
/** Below this no file is worth compacting. */
const COMPACT_FROM = 256 * 1024;
/** Entries in one line of a compacted file. */
const ENTRIES_A_LINE = 500;
/** How often a process shows to others on other machines that it lives. */
const HEARTBEAT_MS = 3_000;

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
  readonly #me: Owner = thisOwner();
  readonly #ownerFile: string;
  readonly #journals = new Map<string, Journal>();
  readonly #checkAt = new Map<string, number>();
  #heartbeat: NodeJS.Timeout | undefined;
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
    this.#ownerFile = join(this.#root, '.owners', this.#me.nonce);
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
      const journal = this.#journal(path);
      const fold = journal.read();
      if (!fold) return false;
      this.#erase(path, fold);
      return !fold.isExpired(this.#clock.now());
    });
  }

  async *list(query: ListQuery): AsyncIterable<RecordInfo> {
    this.#open();
    checkList(query);
    const found: { text: string; info: RecordInfo }[] = [];
    let met = 0;
    for (const directory of containers(this.#root, query.space, query.scope)) {
      const names = query.owner === undefined ? recordNames(directory) : new OwnerIndex(directory).names(query.owner);
      for (const name of names) {
        if (++met % 256 === 0) await pause();
        const path = join(directory, name + SUFFIX);
        if (query.updatedBefore !== undefined && !isOlder(path, query.updatedBefore)) continue;
        const info = this.#info(path, name, query);
        if (info) found.push({ text: `${directory}/${fileName(info.key.id)}`, info });
      }
    }
    found.sort((a, b) => (a.text < b.text ? -1 : 1));
    for (const { info } of found) {
      this.#open();
      yield info;
    }
  }

  async sweep(query: SweepQuery): Promise<number> {
    this.#open();
    checkSweep(query);
    let removed = 0;
    let met = 0;
    for (const directory of containers(this.#root, query.space, query.scope)) {
      for (const name of recordNames(directory)) {
        if (++met % 256 === 0) await pause();
        const path = join(directory, name + SUFFIX);
        if (isOlder(path, query.updatedBefore) && (await this.#sweepOne(path, query.updatedBefore))) removed++;
      }
    }
    return removed;
  }

  async ping(): Promise<void> {
    this.#open();
    try {
      this.#enter();
      utimesSync(this.#ownerFile, new Date(), new Date());
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

  #commit(
    path: string,
    key: RecordKey,
    changes: readonly Change[],
    options: CommitOptions,
  ): { answer: Committed | Refused; written?: { path: string; isNew: boolean } } {
    const now = this.#clock.now();
    const journal = this.#journal(path);
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
      const header = headerLine(key, fileName(Math.random().toString(36).slice(2)), now);
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
    journal.append(text, skewed ? now : undefined);
    record.apply(planned, settings);
    journal.keep(record);
    if (before !== undefined && before !== record.owner) {
      new OwnerIndex(dirname(path)).remove(before, basename(path, SUFFIX));
    }
    this.#compactIfDue(path, journal, record);
    if (options.lease) lease?.settle(options.lease.token, options.lease.keepMs, now);
    return { answer: answerOf(record, now, planned.incremented), written: { path, isNew } };
  }

  /** Rewrites a file most of which is history of values that are gone. Looks again when it has doubled. */
  #compactIfDue(path: string, journal: Journal, fold: RecordFold): void {
    if (journal.size < (this.#checkAt.get(path) ?? COMPACT_FROM)) return;
    this.#checkAt.set(path, journal.size * 2);
    const entries = journal.entries(fold.logDropped, fold.logTotal);
    const stamp = `{"at":"${new Date(fold.updatedAt).toISOString()}","v":${fold.version}}`;
    const first = [
      `{"at":"${new Date(fold.updatedAt).toISOString()}","v":${fold.version},"expires":${
        fold.expiresAt === undefined ? null : `"${new Date(fold.expiresAt).toISOString()}"`
      }${fold.ownTtl === undefined ? '' : `,"ttl":${JSON.stringify(fold.ownTtl)}`}}`,
      `{"owner":${JSON.stringify(fold.owner ?? null)}}`,
      `{"set":{${[...fold.fields].map(([field, token]) => `${JSON.stringify(field)}:${token}`).join(',')}}}`,
      `{"from":${fold.logDropped}}`,
    ];
    const { header } = fold;
    const key = {
      space: '',
      scope: header?.scope ?? [],
      id: header?.id ?? textOfFileName(basename(path, SUFFIX)) ?? '',
    };
    let text = headerLine(key, Math.random().toString(36).slice(2), fold.createdAt);
    text += `[${first.join(',')}]\n`;
    for (let i = 0; i < entries.length; i += ENTRIES_A_LINE) {
      text += `[${[stamp, ...entries.slice(i, i + ENTRIES_A_LINE).map((entry) => `{"m":${entry}}`)].join(',')}]\n`;
    }
    if (text.length > journal.size / 2 || fold.damaged.length > 0) return;
    journal.replace(text, `${path}.${this.#me.nonce}.tmp`, () => syncNow(`${path}.${this.#me.nonce}.tmp`));
    this.#checkAt.set(path, Math.max(COMPACT_FROM, text.length * 2));
  }

  async #sweepOne(path: string, updatedBefore: number): Promise<boolean> {
    try {
      return await this.#lockedAt(path, () => {
        const now = this.#clock.now();
        const fold = this.#journal(path).read();
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
    this.#journal(path).remove();
    this.#checkAt.delete(path);
    if (fold.owner !== undefined) new OwnerIndex(dirname(path)).remove(fold.owner, basename(path, SUFFIX));
  }

  #info(path: string, name: string, query: ListQuery): RecordInfo | undefined {
    let fold: RecordFold | undefined;
    try {
      fold = this.#journal(path).read();
    } catch (error) {
      this.#logger.error(`${path} is left out of the list`, error);
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
    const fold = this.#journal(path).read();
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
    return this.#journal(path).entries(start, end);
  }

  #journal(path: string): Journal {
    let journal = this.#journals.get(path);
    if (journal) {
      this.#journals.delete(path);
    } else {
      journal = new Journal(path, this.#logger);
      const oldest = this.#journals.size >= CACHED ? this.#journals.keys().next().value : undefined;
      if (oldest !== undefined) this.#journals.delete(oldest);
    }
    this.#journals.set(path, journal);
    return journal;
  }

  #lease(path: string): LeaseFile {
    return new LeaseFile(`${path}.lease`, this.#me);
  }

  #pathOf(key: RecordKey): string {
    return join(containerPath(this.#root, key.space, key.scope), fileName(key.id) + SUFFIX);
  }

  #guarded<R>(key: RecordKey, call: (path: string) => R): R {
    const path = this.#pathOf(key);
    try {
      return call(path);
    } catch (error) {
      throw fileError(error, path);
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
        await lock(lockPath, this.#ownerFile);
      } catch (error) {
        if (!isMissing(error)) throw error;
        // The directory is new, or somebody emptied it.
        this.#heartbeat = undefined;
        this.#enter();
        mkdirSync(dirname(path), { recursive: true });
        await lock(lockPath, this.#ownerFile);
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

  /** Makes the owner file that locks are links to, once. */
  #enter(): void {
    if (this.#heartbeat) return;
    const directory = dirname(this.#ownerFile);
    mkdirSync(directory, { recursive: true });
    writeFileSync(this.#ownerFile, JSON.stringify(this.#me));
    // An empty owner file after a power cut would name nobody for ever.
    syncNow(this.#ownerFile);
    const format = join(this.#root, 'agentup.json');
    try {
      statSync(format);
    } catch {
      writeFileSync(format, '{"format":1}\n');
    }
    for (const name of readdirSync(directory)) {
      try {
        const owner = JSON.parse(readFileSync(join(directory, name), 'utf8')) as Owner;
        if (name !== this.#me.nonce && stateOf(owner) === 'dead') rmSync(join(directory, name), { force: true });
      } catch {
        // Being written by somebody just now, or gone already.
      }
    }
    this.#heartbeat = setInterval(() => {
      try {
        utimesSync(this.#ownerFile, new Date(), new Date());
      } catch {
        // The directory has been removed; the next call makes it again.
      }
    }, HEARTBEAT_MS).unref();
    atExit.add(this.#onExit);
  }

  #leave(): void {
    clearInterval(this.#heartbeat);
    this.#sync.flush();
    rmSync(this.#ownerFile, { force: true });
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

function settingsOf(
  fold: RecordFold,
  logCleared: boolean,
  added: number,
  { expiry, logMax, commitId }: CommitOptions,
  now: number,
): LineSettings {
  const total = (logCleared ? 0 : fold.logTotal) + added;
  const dropped = logCleared ? 0 : fold.logDropped;
  const from = logMax !== undefined && total - dropped > logMax ? total - logMax : undefined;
  const settings = { at: now, version: fold.version + 1, from, id: commitId };
  if (!expiry) return settings;
  const seconds = 'set' in expiry ? expiry.set : (fold.ownTtl ?? expiry.renew);
  const expiresAt = seconds === 'none' ? undefined : now + seconds * 1000;
  return {
    ...settings,
    ...(expiresAt !== fold.expiresAt && { expiresAt: expiresAt ?? null }),
    ...('set' in expiry && { ownTtl: expiry.set }),
  };
}

function answerOf(fold: RecordFold | undefined, now: number, incremented: Map<string, number>): Committed {
  return {
    committed: true,
    version: fold?.version ?? 0,
    updatedAt: fold?.updatedAt ?? now,
    expiresAt: fold?.expiresAt,
    incremented,
    logTotal: fold?.logTotal ?? 0,
  };
}

function answerAgain({ at, version, expiresAt, logTotal, set }: RecentCommit, changes: readonly Change[]): Committed {
  const incremented = new Map<string, number>();
  for (const change of changes) {
    if (change.op === 'increment') incremented.set(change.field, Number(set.get(change.field)));
  }
  return { committed: true, version, updatedAt: at, expiresAt, incremented, logTotal };
}

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
