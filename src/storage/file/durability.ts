import { closeSync, fdatasync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Logger } from '../../logger.js';
import { fileError, isMissing } from './file-errors.js';

/** When a write on files is safe against power loss. All of them survive the death of the process. */
export type Durability = 'never' | 'interval' | 'commit';

const INTERVAL_MS = 1_000;

/** Brings written files to the disk: not at all, once a second, or before a commit is acknowledged. */
export class DiskSync {
  readonly #mode: Durability;
  readonly #logger: Logger;
  readonly #dirty = new Set<string>();
  /** One sync under way for a file, and one more that waits: commits of the meantime share it. */
  readonly #waiting = new Map<string, Promise<void>>();
  readonly #running = new Map<string, Promise<void>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(mode: Durability, logger: Logger) {
    this.#mode = mode;
    this.#logger = logger;
  }

  /** A file has been written. Settles when that is as safe as it is promised to be. */
  async written(path: string, isNew: boolean): Promise<void> {
    if (this.#mode === 'never') return;
    if (this.#mode === 'commit') {
      await this.#shared(path);
      if (isNew) syncNow(dirname(path));
      return;
    }
    this.#dirty.add(path);
    if (isNew) this.#dirty.add(dirname(path));
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.flush();
    }, INTERVAL_MS).unref();
  }

  /** Syncs what is due. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const paths = [...this.#dirty];
    this.#dirty.clear();
    for (const path of paths) {
      try {
        syncNow(path);
      } catch (error) {
        if (!isMissing(error)) this.#logger.error(fileError(error, path).message);
      }
    }
  }

  #shared(path: string): Promise<void> {
    const waiting = this.#waiting.get(path);
    if (waiting) return waiting;
    const running = this.#running.get(path);
    const mine = (running ?? Promise.resolve())
      .catch(() => {})
      .then(() => {
        this.#waiting.delete(path);
        const sync = fdatasyncOf(path);
        this.#running.set(path, sync);
        const done = () => {
          if (this.#running.get(path) === sync) this.#running.delete(path);
        };
        sync.then(done, done);
        return sync;
      });
    this.#waiting.set(path, mine);
    return mine;
  }
}

function fdatasyncOf(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let file: number;
    try {
      file = openSync(path, 'r');
    } catch (error) {
      // Removed meanwhile: nothing is left that could be lost.
      if (isMissing(error)) resolve();
      else reject(fileError(error, path));
      return;
    }
    fdatasync(file, (error) => {
      closeSync(file);
      if (error) reject(fileError(error, path));
      else resolve();
    });
  });
}

/** Syncs a file or a directory. */
export function syncNow(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
