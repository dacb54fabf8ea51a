import { dirname } from 'node:path';
import { Bag } from '../../bag.js';
import type { Clock } from '../../clock.js';
import { AgentUpError } from '../../errors.js';
import type { Logger } from '../../logger.js';
import type { RecordKey } from '../keys.js';
import { removeIfGone } from './dead-marks.js';
import { DiskSync, type Durability } from './durability.js';
import { fileError, isMissing, isTooMany } from './file-errors.js';
import { textOfFileName } from './file-name.js';
import { Journal } from './journal.js';
import { isAsRewritten, isWorthRewriting, rewrite } from './journal-rewrite.js';
import { makeDirectory } from './make-directory.js';
import { OwnerIndex } from './owner-index.js';
import { ProcessFiles } from './process-files.js';
import { RecordDesk, type Task } from './record-desk.js';
import type { RecordFold } from './record-fold.js';
import { isSeen, type Listed, RecordGlimpses } from './record-glimpses.js';
import { RecordLeases } from './record-leases.js';
import { statOf } from './stat-of.js';
import { recordPath, SUFFIX } from './walk.js';

/** Records that are kept in memory, and how many characters of theirs at most; looked at every so many new ones. */
const KEPT = 1_000;
const KEPT_SIZE = 64 * 1024 * 1024;
const WEIGH_EVERY = 32;
/** Of these, how many have their file open: descriptors belong to the whole process. */
const OPEN = 256;
/** By how much a file grows, at least, before it is tried again to make it smaller. */
const RETRY_AFTER = 64 * 1024;
/** Calls in one turn of the event loop. They are synchronous inside: a loop of them would keep everything else waiting. */
const BREATH = 128;

export interface ShelfOptions {
  readonly root: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly durability: Durability;
}

/** What all operations of one storage share: the open records, the files of this process, and the way to the disk. */
export class RecordShelf {
  readonly root: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly files: ProcessFiles;
  readonly leases: RecordLeases;
  readonly owners: OwnerIndex;
  readonly sync: DiskSync;
  readonly #desks = new Map<string, RecordDesk>();
  readonly #glimpses = new RecordGlimpses();
  readonly #pending = new Bag<Promise<unknown>>();
  /** The ones that may have their file open, like all of them in the order of their last use. */
  readonly #open = new Set<RecordDesk>();
  #made = 0;
  #calls = 0;

  constructor({ root, clock, logger, durability }: ShelfOptions) {
    this.root = root;
    this.clock = clock;
    this.logger = logger;
    this.files = new ProcessFiles(root, () => this.now());
    this.leases = new RecordLeases(
      this.files,
      () => this.now(),
      logger,
      () => this.#putAway(this.#desks.size) > 0,
    );
    this.owners = new OwnerIndex(root);
    this.sync = new DiskSync(durability, logger);
  }

  /** Epoch milliseconds. */
  now(): number {
    return Math.trunc(this.clock.now());
  }

  pathOf(key: RecordKey): string {
    return recordPath(this.root, key);
  }

  /** Lets the event loop turn where it has not for many calls. Of a server that answers requests it turns anyway. */
  breath(): Promise<void> | undefined {
    if (this.#calls === 0) setImmediate(this.#turned);
    return ++this.#calls % BREATH === 0 ? pause() : undefined;
  }

  readonly #turned = (): void => {
    this.#calls = 0;
  };

  desk(path: string): RecordDesk {
    let desk = this.#desks.get(path);
    if (desk) this.#desks.delete(path);
    else {
      desk = new RecordDesk(new Journal(path, this.logger, this.files), this.files, this.#beforehand, this.#afterwards);
      if (this.#desks.size >= KEPT) this.#putAway(1);
      if (++this.#made % WEIGH_EVERY === 0) this.#lighten();
    }
    this.#desks.set(path, desk);
    this.#open.delete(desk);
    this.#open.add(desk);
    if (this.#open.size > OPEN) this.#rest();
    return desk;
  }

  /** The record at `path`, if it is there and has not expired. Needs no lock. */
  living(path: string, key: RecordKey | undefined): RecordFold | undefined {
    const fold = this.guarded(path, () => this.desk(path).journal.read());
    if (!fold || fold.isExpired(this.now())) return undefined;
    if (key) assertKey(path, fold, key);
    return fold;
  }

  /** A look at a record that does not push others off the shelf. */
  peek<R>(path: string, look: (fold: RecordFold | undefined) => R): R {
    const desk = this.#desks.get(path);
    if (desk) return look(this.guarded(path, () => desk.journal.read()));
    const journal = new Journal(path, this.logger, this.files);
    try {
      return look(this.guarded(path, () => journal.read()));
    } finally {
      this.#close(journal);
    }
  }

  /** What a list says of a record, which mostly need not be read for it; `undefined` where there is none. */
  listed(path: string): Listed | undefined {
    const known = this.#desks.get(path)?.journal.glimpse ?? this.#glimpses.get(path);
    const stats = known && this.guarded(path, () => statOf(path));
    if (known && stats && isSeen(known, stats)) return known;
    return this.peek(path, (fold) => fold);
  }

  /** Does work on a record under its lock. */
  exclusive<R>(path: string, work: (desk: RecordDesk) => R): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      const fail = (error: unknown): void => reject(fileError(error, path));
      this.add(path, {
        run: (desk) => {
          desk.flush();
          resolve(work(desk));
        },
        fail,
      });
    });
  }

  /** Writes a record's file anew, without what is gone, unless there is nothing else in it. @throws STORAGE_FAILED where that could not be done */
  async scrub(path: string): Promise<void> {
    await this.exclusive(path, (desk) => {
      const fold = desk.read();
      desk.journal.scrubbing = fold !== undefined && !isAsRewritten(desk.journal, fold);
    });
    // Its turn comes when the file has been written, under the same lock.
    await this.exclusive(path, ({ journal }) => {
      if (!journal.scrubbing) return;
      journal.scrubbing = false;
      throw new AgentUpError('STORAGE_FAILED', `${path} could not be written anew, and still holds what is gone`, {
        backend: 'file',
        file: path,
      });
    });
  }

  add(path: string, task: Task): void {
    this.desk(path).add(task);
  }

  /** Keeps `close` waiting for a promise. */
  pending<R>(promise: Promise<R>): Promise<R> {
    const place = this.#pending.add(promise);
    const done = (): void => this.#pending.delete(place);
    promise.then(done, done);
    return promise;
  }

  /** Does what makes a file beside a record, and makes the directories that it misses. */
  making<R>(path: string, make: () => R): R {
    for (let tries = 0; ; tries++) {
      try {
        this.files.enter();
        return make();
      } catch (error) {
        if (tries < 4 && this.#hasMadeRoom(error)) continue;
        if (!isMissing(error) || tries >= 4) throw fileError(error, path);
        if (tries > 0) this.files.missing();
        this.guarded(path, () => makeDirectory(dirname(path)));
      }
    }
  }

  /** Tries again with fewer open files where there are too many. */
  guarded<R>(path: string, call: () => R): R {
    try {
      return call();
    } catch (error) {
      if (!this.#hasMadeRoom(error)) throw fileError(error, path);
    }
    try {
      return call();
    } catch (error) {
      throw fileError(error, path);
    }
  }

  /** Removes a record and its entry in the index. Under its lock. `emptied`: see `OwnerIndex.remove`. */
  erase(desk: RecordDesk, listed: Listed | undefined, emptied?: Set<string>): void {
    desk.remove();
    if (listed?.owner !== undefined) this.owners.remove(listed.owner, desk.journal.path, emptied);
  }

  /** Forgets a record that will not be asked for soon. */
  dismiss(path: string): void {
    const desk = this.#desks.get(path);
    if (desk?.idle) this.#forget(path, desk);
  }

  async close(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending.values());
    this.#putAway(this.#desks.size);
    await this.sync.flush();
    this.#leave(true);
  }

  /** What can be done while the process ends. */
  closeNow(): void {
    this.sync.flushNow();
    this.#leave(false);
  }

  /** What cannot be removed goes with this process, or with the next one: closing does not fail for it. */
  #leave(publishing: boolean): void {
    const failures: unknown[] = [];
    try {
      this.files.access.sole.leave({ publishing });
    } catch (error) {
      failures.push(error);
    }
    failures.push(...this.files.leave(publishing ? this.leases.outUntil() : 0));
    if (failures.length === 0) return;
    this.logger.warn(failures[0], `${failures.length} files of this process in ${this.root} could not be put in order`);
  }

  /** Too many files were open, and now there are fewer. */
  #hasMadeRoom(error: unknown): boolean {
    return isTooMany(error) && this.#putAway(this.#desks.size) > 0;
  }

  /** Closes up to `count` of the records that nobody has asked for the longest. Returns how many. */
  #putAway(count: number): number {
    let put = 0;
    for (const [path, desk] of this.#desks) {
      if (put >= count) break;
      if (!desk.idle) continue;
      this.#forget(path, desk);
      put++;
    }
    return put;
  }

  #close(journal: Journal): void {
    this.#glimpses.keep(journal.path, journal.glimpse);
    journal.close();
  }

  #forget(path: string, desk: RecordDesk): void {
    this.#close(desk.journal);
    this.#desks.delete(path);
    this.#open.delete(desk);
  }

  /** Closes the file that nobody has asked for the longest. */
  #rest(): void {
    for (const desk of this.#open) {
      if (!desk.idle) continue;
      desk.journal.rest();
      this.#open.delete(desk);
      return;
    }
  }

  /** Large records push others away, or all together would take any amount of memory. */
  #lighten(): void {
    let size = 0;
    for (const { journal } of this.#desks.values()) size += journal.weight;
    for (const [path, desk] of this.#desks) {
      if (size <= KEPT_SIZE) return;
      if (!desk.idle) continue;
      size -= desk.journal.weight;
      this.#forget(path, desk);
    }
  }

  /** What the dead have left beside a record is in nobody's way, only in sight, where nobody looks at locks and leases. */
  readonly #beforehand = ({ journal: { path } }: RecordDesk): void => {
    if (!this.files.access.sole.held) return;
    try {
      removeIfGone(`${path}.lock`, this.files.mark);
      this.leases.clear(path, this.now());
    } catch (error) {
      this.logger.warn(error, `what is left over beside ${path} could not be removed`);
    }
  };

  readonly #afterwards = (desk: RecordDesk, fold: RecordFold): Promise<void> | undefined => {
    const { journal, lock } = desk;
    if (!isWorthRewriting(journal, fold)) return undefined;
    const id = fold.header?.id ?? textOfFileName(journal.path.slice(journal.path.lastIndexOf('/') + 1, -SUFFIX.length));
    if (id === undefined) return undefined;
    const key = { id, scope: fold.header?.scope ?? this.#scopeOf(journal.path) };
    if (!this.#secured(desk)) return undefined;
    const between = async (): Promise<void> => {
      lock.touch();
      await pause();
    };
    const work = rewrite(journal, fold, key, between).catch((error: unknown) => this.#notRewritten(journal, error));
    return this.pending(work);
  };

  #secured({ lock, journal }: RecordDesk): boolean {
    try {
      return lock.secure();
    } catch (error) {
      this.#notRewritten(journal, error);
      return false;
    }
  }

  /** It can wait: all is there, only larger than it need be. */
  #notRewritten(journal: Journal, error: unknown): void {
    journal.notBefore = journal.size + Math.max(journal.size / 2, RETRY_AFTER);
    this.logger.warn(error, `${journal.path} could not be compacted`);
  }

  #scopeOf(path: string): string[] {
    const parts = path
      .slice(this.root.length + 1)
      .split('/')
      .slice(1, -1);
    return parts.map((part) => textOfFileName(part) ?? part);
  }
}

/** A file with the name of one record that another has been copied to. */
function assertKey(path: string, { header }: RecordFold, { id, space }: RecordKey): void {
  // A short name says the id itself.
  if (header === undefined || header.id === id || !path.includes('~', path.lastIndexOf('/'))) return;
  throw new AgentUpError('RECORD_CORRUPT', `${path} is the file of another record`, {
    backend: 'file',
    file: path,
    recordId: id,
    space,
    fix: 'the first line of a file with such a name must have its id',
  });
}

function pause(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
