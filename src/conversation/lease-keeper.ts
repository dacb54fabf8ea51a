import { MAX_TIMER_MS } from './turn-queue.js';

/** A timer that is so late is set anew. */
const LOST_MS = 1_000;

/** A turn whose lease has to be renewed while it runs. */
export interface Renewable {
  renew(): Promise<void>;
}

/**
 * Renews the leases of the turns that run, each after a third of its life. One timer for all of them: most turns end
 * long before their first renewal, and a timer for each would cost them more than their place in a set.
 */
export class LeaseKeeper {
  /** When each is to be renewed next, monotonic milliseconds, and how often. */
  readonly #turns = new Map<Renewable, { due: number; readonly every: number }>();
  #timer: NodeJS.Timeout | undefined;
  #wakesAt = Number.POSITIVE_INFINITY;

  add(turn: Renewable, leaseMs: number): void {
    const every = Math.min(leaseMs / 3, MAX_TIMER_MS);
    const now = performance.now();
    const due = now + every;
    this.#turns.set(turn, { due, every });
    // A timer so late does not come: somebody's test had the process's timers in its hands when it was set.
    if (now - this.#wakesAt > LOST_MS) this.#wake(now);
    else if (due < this.#wakesAt) this.#wake(due);
  }

  delete(turn: Renewable): void {
    this.#turns.delete(turn);
  }

  #wake(at: number): void {
    clearTimeout(this.#timer);
    this.#wakesAt = at;
    this.#timer = setTimeout(() => this.#renewDue(), Math.max(0, at - performance.now()));
    this.#timer.unref();
  }

  #renewDue(): void {
    this.#wakesAt = Number.POSITIVE_INFINITY;
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const [turn, entry] of this.#turns) {
      if (entry.due <= now) {
        entry.due = now + entry.every;
        void turn.renew();
      }
      next = Math.min(next, entry.due);
    }
    if (next !== Number.POSITIVE_INFINITY) this.#wake(next);
  }
}

export const leaseKeeper = new LeaseKeeper();
