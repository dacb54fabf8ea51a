import { unlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { AgentUpError } from '../../errors.js';
import { breakIfGone, holderOf } from './dead-marks.js';
import { isMissing } from './file-errors.js';
import type { ProcessFiles } from './process-files.js';

/** How long a lock of a living process is waited for. */
const PATIENCE_MS = 10_000;
/** Who holds a lock for longer than this looks whether it still has it before it writes. */
const DOUBT_MS = 4_000;
/** Tries without a pause: the lock is mostly held for microseconds. */
const EAGER = 8;

/**
 * The lock of one record: a mark of the process that holds it, for microseconds. Taking it costs one system call and
 * releasing it another. The lock of a dead process is broken, also when several find it at once.
 */
export class RecordLock {
  readonly path: string;
  readonly #files: ProcessFiles;
  #since = 0;
  /** A release has failed: our mark is still there. */
  #stuck = false;

  constructor(record: string, files: ProcessFiles) {
    this.path = `${record}.lock`;
    this.#files = files;
  }

  /** Takes the lock if it is free. */
  tryTake(): boolean {
    if (!this.#files.mark(this.path) && !(this.#stuck && this.#files.isMine(this.path))) return false;
    this.#stuck = false;
    this.#since = performance.now();
    return true;
  }

  /**
   * Waits until the lock is taken.
   * @throws STORAGE_UNAVAILABLE when somebody alive holds it for 10 s
   */
  async take(): Promise<void> {
    const began = performance.now();
    for (let tries = 0; !this.tryTake(); tries++) {
      if (tries < EAGER) {
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      if (tries % 16 === EAGER && breakIfGone(this.path, this.path, this.#files.mark)) continue;
      if (performance.now() - began > PATIENCE_MS) throw this.#held();
      await delay(1 + Math.random() * Math.min(tries / EAGER, 5));
    }
  }

  /** @throws STORAGE_UNAVAILABLE where this process stood still for so long that others took the lock from it */
  assertHeld(): void {
    if (performance.now() - this.#since < DOUBT_MS || this.#files.isMine(this.path)) return;
    throw new AgentUpError('STORAGE_UNAVAILABLE', `this process stood still, and lost its lock ${this.path}`, {
      backend: 'file',
      file: this.path,
    });
  }

  /** Keeps the lock through work that takes long. */
  touch(): void {
    this.assertHeld();
    this.#files.touch(this.path);
    this.#since = performance.now();
  }

  release(): void {
    try {
      if (performance.now() - this.#since < DOUBT_MS || this.#files.isMine(this.path)) unlinkSync(this.path);
    } catch (error) {
      // It ends with this process, or when this process takes it again.
      this.#stuck = !isMissing(error);
    }
  }

  #held(): AgentUpError {
    const holder = holderOf(this.path)?.owner;
    const who = holder ? `process ${holder.pid}` : 'another process';
    return new AgentUpError('STORAGE_UNAVAILABLE', `${who} has held the lock ${this.path} for ${PATIENCE_MS} ms`, {
      backend: 'file',
      file: this.path,
      retryAfterMs: 1_000,
      fix: 'end that process if it hangs; its lock ends with it',
    });
  }
}
