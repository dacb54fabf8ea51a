import { KeyedBag } from '../../bag.js';
import { freeLease, holdsLease, type Lease, passLease, settleLease, takeLease } from '../lease.js';
import type { BeginOptions } from '../state-storage.js';

/** The leases of records in memory, as long as only one process gives any. */
export class LeaseTable {
  readonly #leases = new KeyedBag<Lease>();

  get size(): number {
    return this.#leases.size;
  }

  /** Takes the lease where there is no sign of another. */
  tryTake(record: string, token: string, until: number, now: number): boolean {
    const there = this.#leases.get(record);
    if (there && isOut(there, now)) return false;
    this.set(record, { token, until, next: '', nextUntil: 0 });
    return true;
  }

  /** Takes the lease, or says for how many milliseconds it is not to be had. */
  take(record: string, token: string, leaseMs: number, now: number): number {
    const lease = this.#leases.get(record) ?? freeLease();
    const wait = takeLease(lease, token, leaseMs, now);
    this.set(record, lease);
    return wait;
  }

  /** The lease, if it is this token that holds it. */
  heldBy(record: string, token: string, now: number): Lease | undefined {
    const lease = this.#leases.get(record);
    return holdsLease(lease, token, now) ? lease : undefined;
  }

  isHeld(record: string, now: number): boolean {
    return (this.#leases.get(record)?.until ?? 0) > now;
  }

  /** Renews a lease, or without `keepMs` ends it. */
  settle(record: string, lease: Lease, keepMs: number | undefined, now: number): void {
    settleLease(lease, keepMs, now);
    this.clear(record, now);
  }

  /** Gives the lease to the next turn, unless somebody waits for it. */
  pass(lease: Lease, next: Pick<BeginOptions, 'token' | 'leaseMs'>, now: number): boolean {
    settleLease(lease, undefined, now);
    return passLease(lease, next, now);
  }

  set(record: string, lease: Lease): void {
    this.#leases.set(record, lease);
  }

  /** Removes what is left of all that have ended. */
  tidy(now: number): void {
    for (const [record] of this.#leases.entries()) this.clear(record, now);
  }

  /** Removes what is left of a lease that has ended. */
  clear(record: string, now: number): void {
    const lease = this.#leases.get(record);
    if (lease && !isOut(lease, now)) this.#leases.delete(record);
  }

  /** Those that are out, also as the place of somebody who waits. */
  *out(now: number): Generator<[record: string, lease: Lease]> {
    for (const entry of this.#leases.entries()) if (isOut(entry[1], now)) yield entry;
  }

  drop(): void {
    for (const [record] of this.#leases.entries()) this.#leases.delete(record);
  }
}

function isOut({ until, nextUntil }: Lease, now: number): boolean {
  return until > now || nextUntil > now;
}
