import { AgentUpError } from '../errors.js';
import type { RecordKey } from './keys.js';
import { type BeginOptions, RESERVATION_MS } from './state-storage.js';

/** Who holds the lease of a record, and who may have it next; moments are epoch milliseconds, a past one is nobody's. */
export interface Lease {
  token: string;
  until: number;
  next: string;
  nextUntil: number;
}

/** The lease of a record that nobody has asked for. */
export function freeLease(): Lease {
  return { token: '', until: 0, next: '', nextUntil: 0 };
}

/**
 * Takes or renews a lease in place, or reserves the next place in it. A backend stores what has become of it, in the
 * same step as it read it.
 * @returns 0, or for how many milliseconds it is not to be had
 */
export function takeLease(lease: Lease, token: string, leaseMs: number, now: number): number {
  const held = lease.until > now;
  const reserved = lease.nextUntil > now;
  if (held ? lease.token !== token : reserved && lease.next !== token) {
    if (!reserved || lease.next === token) {
      lease.next = token;
      lease.nextUntil = now + RESERVATION_MS;
    }
    return (held ? lease.until : lease.nextUntil) - now;
  }
  lease.token = token;
  lease.until = now + leaseMs;
  if (lease.next === token) lease.nextUntil = 0;
  return 0;
}

/** Does this token hold the lease now? */
export function holdsLease(lease: Lease | undefined, token: string, now: number): boolean {
  return lease !== undefined && lease.token === token && lease.until > now;
}

/** After a commit under it: renews the lease, or without `keepMs` ends it. The place of the next one stays. */
export function settleLease(lease: Lease, keepMs: number | undefined, now: number): void {
  lease.until = keepMs === undefined ? 0 : now + keepMs;
}

/** Gives a lease that has just ended to the next turn, unless somebody else is waiting for it. */
export function passLease(
  lease: Lease,
  { token, leaseMs }: Pick<BeginOptions, 'token' | 'leaseMs'>,
  now: number,
): boolean {
  if (lease.until > now || lease.nextUntil > now) return false;
  lease.token = token;
  lease.until = now + leaseMs;
  return true;
}

/** The error for a commit under a lease that its token does not hold. */
export function leaseLost(key: RecordKey): AgentUpError {
  return new AgentUpError('LEASE_LOST', `the lease on ${key.id} was lost before the commit`, {
    recordId: key.id,
    space: key.space,
  });
}
