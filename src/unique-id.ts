import { randomBytes } from 'node:crypto';

// Lower-case letters and digits are the same encoded or not, whatever a backend makes of an id.
const process = BigInt(`0x${randomBytes(9).toString('hex')}`).toString(36);
let count = 0;

/** An id that nobody else makes: for leases, and for commits that may have to be sent twice. */
export function uniqueId(): string {
  return `${process}${(count++).toString(36)}`;
}
