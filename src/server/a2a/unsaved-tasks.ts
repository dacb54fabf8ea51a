import type { Task } from '@a2a-js/sdk';
import { isAgentUpError } from '../../errors.js';

/** Most tasks kept for a storage that is down. */
const MOST = 1000;
/** How long each is tried to be written, in milliseconds. */
const PATIENCE_MS = 600_000;
/** First and longest pause between two tries, in milliseconds. */
const [PAUSE_MS, MAX_PAUSE_MS] = [500, 30_000];

interface Unsaved {
  readonly task: Task;
  readonly write: () => Promise<void>;
  readonly until: number;
}

/** Tasks whose last state could not be written: kept, and tried again in the background until the storage is back. */
export class UnsavedTasks {
  readonly #all = new Map<string, Unsaved>();
  #timer: NodeJS.Timeout | undefined;
  #pause = PAUSE_MS;

  get(name: string): Task | undefined {
    return this.#all.get(name)?.task;
  }

  /** @returns whether it is kept; not where as many are as may be */
  add(name: string, task: Task, write: () => Promise<void>): boolean {
    if (this.#all.size >= MOST) return false;
    this.#all.set(name, { task, write, until: performance.now() + PATIENCE_MS });
    this.#plan();
    return true;
  }

  forget(name: string): void {
    this.#all.delete(name);
  }

  /** Tries once more, and then no more. */
  async end(): Promise<void> {
    await this.#tryAll();
    clearTimeout(this.#timer);
    this.#all.clear();
  }

  #plan(): void {
    this.#timer ??= setTimeout(async () => {
      await this.#tryAll();
      this.#timer = undefined;
      this.#pause = this.#all.size === 0 ? PAUSE_MS : Math.min(this.#pause * 2, MAX_PAUSE_MS);
      if (this.#all.size > 0) this.#plan();
    }, this.#pause).unref();
  }

  /** Where one finds the storage down the others do not wait for that again: a server that stops has no such time. */
  async #tryAll(): Promise<void> {
    let isDown = false;
    for (const [name, unsaved] of [...this.#all]) {
      // A newer state may have come while others were written.
      if (this.#all.get(name) !== unsaved) continue;
      const written =
        !isDown &&
        (await unsaved.write().then(
          () => true,
          (error: unknown) => {
            isDown = isAgentUpError(error, 'STORAGE_UNAVAILABLE');
            return false;
          },
        ));
      const over = written || performance.now() > unsaved.until;
      if (over && this.#all.get(name) === unsaved) this.#all.delete(name);
    }
  }
}
