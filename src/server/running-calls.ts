import { Cancellation } from '../skill/turn-signal.js';
import { within } from '../within.js';

interface Running {
  readonly cancellation: Cancellation;
  readonly ended: Promise<unknown>;
}

/** What is cancelled ends within so many milliseconds; what does not, such as a hook that hangs, is not waited for. */
const MOST_AFTER_CANCEL_MS = 5000;

/** What runs for callers, so that a stop can wait for it, and end what takes too long. */
export class RunningCalls {
  readonly #all = new Set<Running>();

  /** Runs a call that can be cancelled. */
  async run<R>(call: (cancellation: Cancellation) => Promise<R>, cancellation = new Cancellation()): Promise<R> {
    const ended = call(cancellation);
    const running = { cancellation, ended };
    this.#all.add(running);
    try {
      return await ended;
    } finally {
      this.#all.delete(running);
    }
  }

  /** Waits for what runs, and cancels what takes longer than `timeoutMs`. @returns how many that were */
  async stop(timeoutMs: number): Promise<number> {
    await within(timeoutMs, this.#settled(), () => {});
    const left = [...this.#all];
    for (const { cancellation } of left) cancellation.cancel(new Error('the server stops'));
    await within(MOST_AFTER_CANCEL_MS, this.#settled(), () => {});
    return left.length;
  }

  async #settled(): Promise<void> {
    // What had been let in before may begin while others end.
    while (this.#all.size > 0) await Promise.allSettled([...this.#all].map(({ ended }) => ended));
  }
}
