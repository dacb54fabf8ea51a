import { Bag } from '../bag.js';
import { Cancellation } from '../skill/turn-signal.js';
import { within } from '../within.js';

interface Running {
  readonly name: string | undefined;
  readonly cancellation: Cancellation;
  readonly ended: Promise<unknown>;
}

/** What is cancelled ends within so many milliseconds; what does not, such as a hook that hangs, is not waited for. */
const MOST_AFTER_CANCEL_MS = 5000;

/** What runs for callers, so that a stop can wait for it, and end what takes too long. */
export class RunningCalls {
  readonly #all = new Bag<Running>();

  /** Runs a call that can be cancelled; by its name, where it has one. */
  async run<R>(
    call: (cancellation: Cancellation) => Promise<R>,
    cancellation = new Cancellation(),
    name?: string,
  ): Promise<R> {
    const ended = call(cancellation);
    const running = this.#all.add({ name, cancellation, ended });
    try {
      return await ended;
    } finally {
      this.#all.delete(running);
    }
  }

  /** Cancels all calls of that name, and waits until they have ended. */
  async cancel(name: string, error: Error): Promise<void> {
    const named = this.#all.values().filter((running) => running.name === name);
    for (const { cancellation } of named) cancellation.cancel(error);
    await Promise.allSettled(named.map(({ ended }) => ended));
  }

  /** Waits for what runs, and cancels what takes longer than `timeoutMs`. @returns how many that were */
  async stop(timeoutMs: number): Promise<number> {
    await within(timeoutMs, this.#settled(), () => {});
    const left = this.#all.values();
    for (const { cancellation } of left) cancellation.cancel(new Error('the server stops'));
    await within(MOST_AFTER_CANCEL_MS, this.#settled(), () => {});
    return left.length;
  }

  async #settled(): Promise<void> {
    // What had been let in before may begin while others end.
    while (this.#all.size > 0) await Promise.allSettled(this.#all.values().map(({ ended }) => ended));
  }
}
