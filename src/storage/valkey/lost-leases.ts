import type { RecordKey } from '../keys.js';

/** Leases remembered at most; those beyond end by themselves. */
const MAX = 1_000;
/** A release that did not arrive is made up for in this time; later its lease has ended by itself. Milliseconds. */
const LIFE_MS = 60_000;

/**
 * Leases that may have been granted, or not released, because an answer did not come. Nobody knows of them, so each
 * would block its conversation until it ends. They are given back as soon as the server answers again.
 */
export class LostLeases {
  readonly #release: (key: RecordKey, token: string) => Promise<unknown>;
  readonly #lost = new Map<string, { readonly key: RecordKey; readonly until: number }>();

  constructor(release: (key: RecordKey, token: string) => Promise<unknown>) {
    this.#release = release;
  }

  /** Nobody knows whether this token holds a lease. */
  lose(key: RecordKey, token: string, leaseMs = LIFE_MS): void {
    if (this.#lost.size < MAX) this.#lost.set(token, { key, until: performance.now() + leaseMs });
  }

  /** Its owner asks with it again. */
  found(token: string): void {
    if (this.#lost.size > 0) this.#lost.delete(token);
  }

  /** The server answers: what was lost is given back, without waiting. */
  giveBack(): void {
    if (this.#lost.size === 0) return;
    const lost = [...this.#lost];
    this.#lost.clear();
    for (const [token, { key, until }] of lost) {
      if (until <= performance.now()) continue;
      this.#release(key, token).catch((error: { code?: unknown }) => {
        if (error.code === 'STORAGE_UNAVAILABLE') this.lose(key, token, until - performance.now());
      });
    }
  }
}
