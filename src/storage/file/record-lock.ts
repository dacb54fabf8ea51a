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
  /** Held as by the only process that writes, without a mark. */
  #alone = false;
  /** A release has failed: our mark is still there. */
  #stuck = false;

  constructor(record: string, files: ProcessFiles) {
    this.path = `${record}.lock`;
    this.#files = files;
  }

  /** Takes the lock if it is free. */
  tryTake(): boolean {
    const { access } = this.#files;
    if (access.sole.enter()) {
      this.#alone = true;
      this.#since = performance.now();
      return true;
    }
    if (!access.mayLock()) return false;
    if (!this.#files.mark(this.path) && !(this.#stuck && this.#files.isMine(this.path))) return false;
    this.#stuck = false;
    this.#since = performance.now();
    return true;
  }

  /**
   * Waits until the lock is taken.
   * @param tryTake `tryTake`, and what has to be there for it
   * @throws STORAGE_UNAVAILABLE when somebody alive holds it for 10 s
   */
  async take(tryTake: () => boolean): Promise<void> {
    const began = performance.now();
    for (let tries = 0; !tryTake(); tries++) {
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
    if (performance.now() - this.#since < DOUBT_MS || this.#isMine()) return;
    throw new AgentUpError('STORAGE_UNAVAILABLE', `this process stood still, and lost its lock ${this.path}`, {
      backend: 'file',
      file: this.path,
    });
  }

  /** Makes it one that can be held while something is awaited. False where that cannot be done now. */
  secure(): boolean {
    if (!this.#alone) return true;
    const { mark } = this.#files;
    // Nobody who lives can have a lock beside us.
    if (!mark(this.path) && !(breakIfGone(this.path, this.path, mark) && mark(this.path))) return false;
    this.#alone = false;
    this.#files.access.sole.exit();
    return true;
  }

  /** Keeps the lock through work that takes long. */
  touch(): void {
    this.assertHeld();
    this.#files.touch(this.path);
    this.#since = performance.now();
  }

  release(): void {
    if (this.#alone) {
      this.#alone = false;
      this.#files.access.sole.exit();
      // Nobody else looked whether it is still there.
      if (!this.#stuck) return;
    }
    try {
      if (performance.now() - this.#since < DOUBT_MS || this.#isMine()) unlinkSync(this.path);
    } catch (error) {
      // It ends with this process, or when this process takes it again.
      this.#stuck = !isMissing(error);
      return;
    }
    this.#stuck = false;
  }

  #isMine(): boolean {
    return this.#alone ? !this.#files.access.sole.asked : this.#files.isMine(this.path);
  }

  #held(): AgentUpError {
    const writer = this.#files.access.waitsFor;
    const holder = writer ?? holderOf(this.path)?.owner;
    const who = holder ? `process ${holder.pid}` : 'another process';
    const what = writer ? 'has been writing' : `has held the lock ${this.path}`;
    return new AgentUpError('STORAGE_UNAVAILABLE', `${who} ${what} for ${PATIENCE_MS} ms`, {
      backend: 'file',
      file: this.path,
      retryAfterMs: 1_000,
      fix: 'end that process if it hangs; its lock ends with it',
    });
  }
}
