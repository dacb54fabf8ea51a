import { Bag, type Place } from '../bag.js';
import { MAX_TIMER_MS } from './turn-queue.js';

/** A timer that is so late is set anew. */
const LOST_MS = 1_000;

/** A turn whose lease has to be renewed while it runs. */
export interface Renewable {
  renew(): Promise<void>;
}

interface Entry {
  readonly turn: Renewable;
  /** When it is to be renewed next, and how often; monotonic milliseconds. */
  due: number;
  readonly every: number;
}

/** A turn whose lease is being kept. */
export type Kept = Place<Entry>;

/**
 * Renews the leases of the turns that run, each after a third of its life. One timer for all of them: most turns end
 * long before their first renewal, and a timer for each would cost them more than their place among the others.
 */
export class LeaseKeeper {
  readonly #turns = new Bag<Entry>();
  #timer: NodeJS.Timeout | undefined;
  #wakesAt = Number.POSITIVE_INFINITY;

  add(turn: Renewable, leaseMs: number): Kept {
    const every = Math.min(leaseMs / 3, MAX_TIMER_MS);
    const now = performance.now();
    const due = now + every;
    // A timer so late does not come: somebody's test had the process's timers in its hands when it was set.
    if (now - this.#wakesAt > LOST_MS) this.#wake(now);
    else if (due < this.#wakesAt) this.#wake(due);
    return this.#turns.add({ turn, due, every });
  }

  delete(kept: Kept): void {
    this.#turns.delete(kept);
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
    for (const entry of this.#turns.values()) {
      if (entry.due <= now) {
        entry.due = now + entry.every;
        void entry.turn.renew();
      }
      next = Math.min(next, entry.due);
    }
    if (next !== Number.POSITIVE_INFINITY) this.#wake(next);
  }
}

export const leaseKeeper = new LeaseKeeper();
