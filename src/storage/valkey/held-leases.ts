/** What is known of a lease that was granted. */
interface Held {
  /** When it ends by itself, at the earliest. Monotonic milliseconds. */
  readonly until: number;
  readonly version: number;
  readonly updatedAt: number;
}

/** The state of a record, as far as two of one record have to be told apart. */
export interface Stamp {
  readonly version: number;
  readonly updatedAt: number;
}

/** Leases remembered at most; those beyond cannot be taken up again. */
const MAX = 10_000;

/**
 * The leases this process holds. A primary that dies takes leases with it that its replica had not heard of yet, and
 * a turn need not fail for that: where its lease should still run and its record is as the turn knows it, nobody has
 * come in between, and the lease may be taken up again.
 */
export class HeldLeases {
  readonly #held = new Map<string, Held>();

  /** A lease was granted, asked for at the moment `since`, on a record in this state. */
  granted(token: string, since: number, leaseMs: number, record: Stamp | undefined): void {
    if (this.#held.size >= MAX) this.#purge();
    if (this.#held.size >= MAX) return;
    this.#held.set(token, { until: since + leaseMs, version: record?.version ?? 0, updatedAt: record?.updatedAt ?? 0 });
  }

  /** It was renewed; with `written` by a commit that made this of the record. */
  renewed(token: string, since: number, leaseMs: number, written: Stamp | undefined): void {
    const held = this.#held.get(token);
    if (held) this.granted(token, since, leaseMs, written ?? held);
  }

  /** Its turn is over. */
  ended(token: string): void {
    this.#held.delete(token);
  }

  /** Should it still run, as far as this process can tell? */
  runs(token: string): boolean {
    return (this.#held.get(token)?.until ?? 0) > performance.now();
  }

  /** Is the record as the holder of the lease knows it? */
  unchanged(token: string, record: Stamp | undefined): boolean {
    const held = this.#held.get(token);
    return held?.version === (record?.version ?? 0) && held.updatedAt === (record?.updatedAt ?? 0);
  }

  /** Forgets the leases of those who never came back. */
  #purge(): void {
    const now = performance.now();
    for (const [token, { until }] of this.#held) if (until <= now) this.#held.delete(token);
  }

  /** Milliseconds it has left. */
  left(token: string): number {
    return Math.max(1, Math.floor((this.#held.get(token)?.until ?? 0) - performance.now()));
  }
}
