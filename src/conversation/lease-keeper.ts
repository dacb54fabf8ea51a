import { MAX_TIMER_MS } from './turn-queue.js';

/** A timer that is so late is set anew. */
const LOST_MS = 1_000;

/** A turn whose lease has to be renewed while it runs. */
export interface Renewable {
  renew(): Promise<void>;
}

/** A turn whose lease is being kept. */
export interface Kept {
  readonly turn: Renewable;
  /** When it is to be renewed next, and how often; monotonic milliseconds. */
  due: number;
  readonly every: number;
  /** Its place among all; -1 once it is kept no longer. */
  at: number;
}

/**
 * Renews the leases of the turns that run, each after a third of its life. One timer for all of them: most turns end
 * long before their first renewal, and a timer for each would cost them more than their place among the others.
 */
export class LeaseKeeper {
  /**
   * In no order. A `Map` that is filled and emptied all the time leaves a trail of tables behind, each of which refers
   * to the next: once one of them has grown old, they keep the turns that were in them until the whole heap is looked
   * through, and scavenges take several times as long.
   */
  readonly #kept: Kept[] = [];
  #timer: NodeJS.Timeout | undefined;
  #wakesAt = Number.POSITIVE_INFINITY;

  add(turn: Renewable, leaseMs: number): Kept {
    const every = Math.min(leaseMs / 3, MAX_TIMER_MS);
    const now = performance.now();
    const due = now + every;
    const kept = { turn, due, every, at: this.#kept.length };
    this.#kept.push(kept);
    // A timer so late does not come: somebody's test had the process's timers in its hands when it was set.
    if (now - this.#wakesAt > LOST_MS) this.#wake(now);
    else if (due < this.#wakesAt) this.#wake(due);
    return kept;
  }

  delete(kept: Kept): void {
    if (kept.at < 0) return;
    const last = this.#kept.pop() as Kept;
    if (last !== kept) {
      last.at = kept.at;
      this.#kept[kept.at] = last;
    }
    kept.at = -1;
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
    for (const kept of [...this.#kept]) {
      if (kept.due <= now) {
        kept.due = now + kept.every;
        void kept.turn.renew();
      }
      next = Math.min(next, kept.due);
    }
    if (next !== Number.POSITIVE_INFINITY) this.#wake(next);
  }
}

export const leaseKeeper = new LeaseKeeper();
