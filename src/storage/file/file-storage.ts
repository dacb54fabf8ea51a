import { rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { checkObject } from '../../check-object.js';
import { type Clock, systemClock } from '../../clock.js';
import { AgentUpError } from '../../errors.js';
import { type Logger, silentLogger } from '../../logger.js';
import { checkBegin, checkCommit, checkKey, checkTtl } from '../changes.js';
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
import { CommitTask } from './commit-task.js';
import type { Durability } from './durability.js';
import { atExit } from './exit-hook.js';
import { fileError } from './file-errors.js';
import { type CopyOptions, copyOf, entriesOf } from './record-copy.js';
import { listRecords, sweepRecords } from './record-list.js';
import { RecordShelf } from './record-shelf.js';
import { statOf } from './stat-of.js';
import { spacesUnder } from './walk.js';

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

const EXAMPLE = "new FileStorage({ storageDir: './conversation_states' })";
const DURABILITIES: readonly string[] = ['never', 'interval', 'commit'] satisfies Durability[];

/**
 * Keeps each record in a readable file of its own: one line of JSON per commit. Several processes may share a
 * directory on a local file system. Makes no file before the first write.
 */
export class FileStorage implements StateStorage {
  readonly backend = 'file';
  readonly ttl: number | undefined;
  readonly carriesReplies = true;
  readonly #shelf: RecordShelf;
  #closing: Promise<void> | undefined;
  #stayHome: (() => void) | undefined;

  /** @throws INVALID_ARGUMENT, TTL_INVALID */
  constructor(options: FileStorageOptions) {
    checkObject(options, 'FileStorage', EXAMPLE);
    const { ttl, storageDir, durability = 'interval', clock = systemClock, logger = silentLogger } = options;
    if (ttl !== undefined) checkTtl(ttl);
    if (typeof storageDir !== 'string' || storageDir === '' || storageDir.includes('\0')) {
      throw new AgentUpError('INVALID_ARGUMENT', 'storageDir is no path', {
        argument: 'storageDir',
        fix: `write ${EXAMPLE}`,
      });
    }
    if (!DURABILITIES.includes(durability)) {
      const message = `durability is ${JSON.stringify(durability)}; one of ${DURABILITIES.join(', ')}`;
      throw new AgentUpError('INVALID_ARGUMENT', message, { argument: 'durability' });
    }
    this.ttl = ttl;
    this.#shelf = new RecordShelf({ root: resolve(storageDir), clock, logger, durability });
  }

  async begin(key: RecordKey, options: BeginOptions): Promise<Begun> {
    this.#open();
    checkBegin(key, options);
    const { token, leaseMs } = options;
    const shelf = this.#shelf;
    const breath = shelf.breath();
    if (breath) await this.#breathe(breath);
    const path = shelf.pathOf(key);
    this.#writing();
    if (shelf.making(path, () => shelf.leases.tryTake(path, token, leaseMs, shelf.now()))) {
      try {
        return { busy: false, record: this.#copy(path, key, options) };
      } catch (error) {
        await this.#release(path, token);
        throw error;
      }
    }
    return shelf.pending(
      shelf.exclusive<Begun>(path, () => {
        const wait = shelf.leases.take(path, token, leaseMs, shelf.now());
        return wait > 0 ? { busy: true, retryAfterMs: wait } : { busy: false, record: this.#copy(path, key, options) };
      }),
    );
  }

  async read(key: RecordKey, options: ReadOptions = {}): Promise<StateRecord | undefined> {
    this.#open();
    checkRead(key, options);
    const breath = this.#shelf.breath();
    if (breath) await this.#breathe(breath);
    this.#reading();
    return this.#copy(this.#shelf.pathOf(key), key, options);
  }

  async readLog(key: RecordKey, options: LogOptions = {}): Promise<LogPage> {
    this.#open();
    checkReadLog(key, options);
    const breath = this.#shelf.breath();
    if (breath) await this.#breathe(breath);
    this.#reading();
    const path = this.#shelf.pathOf(key);
    const fold = this.#shelf.living(path, key);
    if (!fold) return { entries: [], start: 0, total: 0, dropped: 0 };
    const { logTotal: total, logDropped: dropped } = fold;
    const end = Math.max(dropped, Math.min(total, options.before ?? total));
    const start = Math.max(dropped, options.limit === undefined ? 0 : end - options.limit);
    const { journal } = this.#shelf.desk(path);
    const entries = this.#shelf.guarded(path, () => entriesOf(journal, fold, start, end));
    return { entries, start, total, dropped };
  }

  async commit(key: RecordKey, changes: readonly Change[], options: CommitOptions = {}): Promise<Committed | Refused> {
    this.#open();
    checkCommit(key, changes, options);
    const shelf = this.#shelf;
    const breath = shelf.breath();
    if (breath) await this.#breathe(breath);
    this.#writing();
    const path = shelf.pathOf(key);
    const done = new Promise<Committed | Refused>((answer, reject) => {
      shelf.add(path, new CommitTask(shelf, key, changes, options, answer, reject));
    });
    const next = options.lease?.next;
    return shelf.pending(next ? done.then((answer) => this.#unlessClosing(path, next.token, answer)) : done);
  }

  async delete(key: RecordKey): Promise<boolean> {
    this.#open();
    checkKey(key);
    const shelf = this.#shelf;
    this.#writing();
    const path = shelf.pathOf(key);
    if (!shelf.guarded(path, () => statOf(path))) return false;
    return shelf.pending(
      shelf.exclusive(path, (desk) => {
        let fold: ReturnType<typeof desk.read>;
        try {
          fold = desk.read();
        } catch (error) {
          // A copy has been kept, and this is how one gets rid of the rest.
          if (!(error instanceof AgentUpError) || error.code !== 'RECORD_CORRUPT') throw error;
          shelf.erase(desk, undefined);
          return true;
        }
        if (!fold) return false;
        const expired = fold.isExpired(shelf.now());
        shelf.erase(desk, fold);
        return !expired;
      }),
    );
  }

  async scrub(key: RecordKey): Promise<void> {
    this.#open();
    checkKey(key);
    this.#writing();
    const path = this.#shelf.pathOf(key);
    if (this.#shelf.guarded(path, () => statOf(path))) await this.#shelf.pending(this.#shelf.scrub(path));
  }

  async *list(query: ListQuery): AsyncGenerator<RecordInfo> {
    this.#open();
    checkList(query);
    this.#reading();
    try {
      yield* listRecords(this.#shelf, query, () => this.#open());
    } catch (error) {
      throw fileError(error, join(this.#shelf.root, query.space));
    }
  }

  async spaces(): Promise<string[]> {
    this.#open();
    this.#reading();
    return this.#shelf.guarded(this.#shelf.root, () => spacesUnder(this.#shelf.root));
  }

  async sweep(query: SweepQuery): Promise<number> {
    this.#open();
    checkSweep(query);
    this.#writing();
    this.#reading();
    const swept = sweepRecords(this.#shelf, query, () => this.#open()).catch((error: unknown) => {
      throw fileError(error, join(this.#shelf.root, query.space));
    });
    return this.#shelf.pending(swept);
  }

  async ping(): Promise<void> {
    this.#open();
    this.#writing();
    const path = join(this.#shelf.root, `.ping-${this.#shelf.files.me.nonce}`);
    this.#shelf.making(path, () => {
      writeFileSync(path, 'ping\n');
      rmSync(path);
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#shelf.close().finally(() => this.#stayHome?.());
    return this.#closing;
  }

  #copy(path: string, key: RecordKey, options: CopyOptions): StateRecord | undefined {
    const shelf = this.#shelf;
    const fold = shelf.living(path, key);
    return fold && shelf.guarded(path, () => copyOf(shelf.desk(path).journal, fold, options));
  }

  /** Gives back a lease that was passed on to a turn which could not commit any more. */
  async #unlessClosing(path: string, token: string, answer: Committed | Refused): Promise<Committed | Refused> {
    if (!this.#closing || !answer.committed || !answer.begun) return answer;
    await this.#release(path, token);
    return { ...answer, begun: undefined };
  }

  /** Gives back a lease that nobody will ever know of. */
  async #release(path: string, token: string): Promise<void> {
    const { leases } = this.#shelf;
    const release = this.#shelf.pending(
      this.#shelf.exclusive(path, () => {
        const now = this.#shelf.now();
        const lease = leases.heldBy(path, token, now);
        if (lease) leases.settle(path, lease, undefined, now);
      }),
    );
    await release.catch((error: unknown) => this.#shelf.logger.warn(error, 'a lease could not be released'));
  }

  /** Lets others have their turn. Whoever closes meanwhile must not find files opened again. */
  async #breathe(breath: Promise<void>): Promise<void> {
    await breath;
    this.#open();
  }

  #open(): void {
    if (this.#closing) {
      throw new AgentUpError('STORAGE_CLOSED', 'the file storage has been closed', { backend: 'file' });
    }
  }

  #reading(): void {
    this.#shelf.guarded(this.#shelf.root, () => this.#shelf.files.check());
  }

  /** From now on there is something to be put in order when the process ends. */
  #writing(): void {
    this.#stayHome ??= atExit(() => this.#shelf.closeNow());
  }
}
