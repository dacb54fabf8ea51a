import { closeSync, fdatasync, fsync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { KeyedBag } from '../../bag.js';
import type { Logger } from '../../logger.js';
import { fileError, isMissing } from './file-errors.js';
import { giveBack, lend } from './lent-files.js';
import { SUFFIX } from './walk.js';

/** When a write on files is safe against power loss. All of them survive the death of the process. */
export type Durability = 'never' | 'interval' | 'commit';

const WINDOWS = process.platform === 'win32';
const INTERVAL_MS = 1_000;
/** Syncs at once: the thread pool has other work too. */
const AT_ONCE = 2;

/** A file that is open at times. */
export interface Opened {
  /** Negative where it is not. */
  readonly file: number;
  /** How often it has been written. */
  readonly writes: number;
}

interface Running {
  readonly sync: Promise<void>;
  readonly opened: Opened | undefined;
  /** Of what was opened, when the sync began. */
  readonly writes: number;
}

/** Brings written files to the disk: not at all, once a second, or before a commit is acknowledged. */
export class DiskSync {
  readonly #mode: Durability;
  readonly #logger: Logger;
  readonly #dirty = new Set<string>();
  /** For each file the sync under way, and one more that waits: commits of the meantime share it. */
  readonly #waiting = new KeyedBag<Promise<void>>();
  readonly #running = new KeyedBag<Running>();
  #flushing: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  constructor(mode: Durability, logger: Logger) {
    this.#mode = mode;
    this.#logger = logger;
  }

  /**
   * A file has been written. When there is a promise, the write is as safe as promised once that is settled.
   * @param opened where it may be open
   */
  written(path: string, isNew: boolean, opened?: Opened): Promise<void> | undefined {
    if (this.#mode === 'never') return undefined;
    if (this.#mode === 'commit') {
      const file = this.#shared(path, opened);
      return isNew ? Promise.all([file, this.#shared(dirname(path))]).then(() => {}) : file;
    }
    this.#dirty.add(path);
    if (isNew) this.#dirty.add(dirname(path));
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.flush();
    }, INTERVAL_MS).unref();
    return undefined;
  }

  /** Syncs what is due. Failures are reported: nobody waits for this. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const paths = [...this.#dirty];
    this.#dirty.clear();
    const worker = async () => {
      for (let path = paths.pop(); path !== undefined; path = paths.pop()) {
        await this.#shared(path).catch((error: unknown) => this.#logger.error(error, 'a file could not be synced'));
      }
    };
    const workers = Array.from({ length: AT_ONCE }, worker);
    this.#flushing = Promise.all([this.#flushing, ...workers]).then(() => {});
    return this.#flushing;
  }

  /** Syncs what is due while the process ends. */
  flushNow(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const path of this.#dirty) {
      try {
        syncNow(path);
      } catch (error) {
        if (!isMissing(error)) this.#logger.error(fileError(error, path), 'a file could not be synced');
      }
    }
    this.#dirty.clear();
  }

  #shared(path: string, opened?: Opened): Promise<void> {
    const waiting = this.#waiting.get(path);
    if (waiting) return waiting;
    const running = this.#running.get(path);
    if (opened && !running) return this.#start(path, opened);
    // Written together, and then one after the other asks for it.
    if (opened && running?.opened === opened && running.writes === opened.writes) return running.sync;
    const start = (): Promise<void> => this.#start(path, opened);
    // Even where none is under way: who asks at this moment is to share it.
    const mine = (running?.sync ?? Promise.resolve()).then(start, start);
    this.#waiting.set(path, mine);
    return mine;
  }

  #start(path: string, opened: Opened | undefined): Promise<void> {
    this.#waiting.delete(path);
    const sync = opened && opened.file >= 0 ? syncOpened(opened.file, path) : syncFile(path);
    const running = { sync, opened, writes: opened?.writes ?? 0 };
    this.#running.set(path, running);
    const done = () => {
      if (this.#running.get(path) === running) this.#running.delete(path);
    };
    sync.then(done, done);
    return sync;
  }
}

function syncOpened(file: number, path: string): Promise<void> {
  lend(file);
  return new Promise((resolve, reject) => {
    fdatasync(file, (error) => {
      const notClosed = failureOf(() => giveBack(file));
      const failed = error ?? notClosed;
      if (failed) reject(fileError(failed, path));
      else resolve();
    });
  });
}

/** What is thrown where the system calls us would end the process. */
function failureOf(close: () => void): unknown {
  try {
    close();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** Through a descriptor of its own: a sync never meets one that has been closed. */
function syncFile(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let file: number;
    try {
      file = openToSync(path);
    } catch (error) {
      // Removed meanwhile: nothing is left that could be lost. Windows opens no directory.
      if (isMissing(error) || (WINDOWS && !path.endsWith(SUFFIX))) resolve();
      else reject(fileError(error, path));
      return;
    }
    (path.endsWith(SUFFIX) ? fdatasync : fsync)(file, (error) => {
      const notClosed = failureOf(() => closeSync(file));
      const failed = error ?? notClosed;
      if (failed) reject(fileError(failed, path));
      else resolve();
    });
  });
}

/** Syncs a file or a directory. */
export function syncNow(path: string): void {
  if (WINDOWS && !path.endsWith(SUFFIX)) return;
  const file = openToSync(path);
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function openToSync(path: string): number {
  return openSync(path, WINDOWS && path.endsWith(SUFFIX) ? 'r+' : 'r');
}
