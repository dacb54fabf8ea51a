import { setImmediate } from 'node:timers/promises';
import { ForwardingStorage } from '../../src/storage/forwarding-storage.js';
import type { RecordKey } from '../../src/storage/keys.js';
import type { BeginOptions, Change, CommitOptions, ListQuery, ReadOptions } from '../../src/storage/state-storage.js';

/** Holds calls back, to let them through one by one in an order that is chosen. */
export class GatedStorage extends ForwardingStorage {
  readonly #waiting: (() => void)[] = [];
  #isOpen = true;

  /** Does all of it at the same time, and what it leaves to be done aside, in an order of calls that is chosen. */
  async interleaved<T>(work: readonly (() => Promise<T>)[], choices: Iterator<number>): Promise<T[]> {
    // What was left to be done before.
    await setImmediate();
    this.#isOpen = false;
    let running = work.length;
    const results = Promise.all(work.map((one) => one().finally(() => running--)));
    while (running > 0 || this.#waiting.length > 0) {
      // Who was let through has come to the next call then, or waits for time.
      await setImmediate();
      if (this.#waiting.length === 0) continue;
      const next = (choices.next().value ?? 0) % this.#waiting.length;
      this.#waiting.splice(next, 1)[0]?.();
    }
    this.#isOpen = true;
    return results;
  }

  async #turn(): Promise<void> {
    if (!this.#isOpen) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  override async begin(record: RecordKey, options: BeginOptions) {
    await this.#turn();
    return super.begin(record, options);
  }

  override async read(record: RecordKey, options?: ReadOptions) {
    await this.#turn();
    return super.read(record, options);
  }

  override async commit(record: RecordKey, changes: readonly Change[], options?: CommitOptions) {
    await this.#turn();
    return super.commit(record, changes, options);
  }

  override async delete(record: RecordKey) {
    await this.#turn();
    return super.delete(record);
  }

  override async *list(query: ListQuery) {
    await this.#turn();
    yield* super.list(query);
  }
}
