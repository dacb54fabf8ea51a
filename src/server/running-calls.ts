import { Cancellation } from '../skill/turn-signal.js';

interface Running {
  readonly cancellation: Cancellation;
  readonly ended: Promise<unknown>;
}

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
    let late = false;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        late = true;
        resolve();
      }, timeoutMs);
    });
    // What had been let in before may begin while others end.
    while (this.#all.size > 0 && !late) await Promise.race([this.#settled(), patience]);
    clearTimeout(timer);
    const left = [...this.#all];
    for (const { cancellation } of left) cancellation.cancel(new Error('the server stops'));
    await this.#settled();
    return left.length;
  }

  async #settled(): Promise<void> {
    await Promise.allSettled([...this.#all].map(({ ended }) => ended));
  }
}
