import { closeSync, constants, fstatSync, ftruncateSync, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs';
import { RESERVATION_MS } from '../state-storage.js';
import { isMissing } from './file-errors.js';
import { type Owner, stateOf } from './process-owner.js';

interface Lease {
  /** Who may run a turn, and until when, in epoch milliseconds. */
  readonly token: string;
  readonly until: number;
  /** The process behind it: when that is gone the lease has ended. */
  readonly owner: Owner;
  /** Who is served next, and for how long its place is kept. */
  readonly next: string;
  readonly nextUntil: number;
}

const NOBODY = '';
/** Bytes; a lease with a token of ours fits into one. */
const BLOCK = 512;

/** The lease of one record, in a file beside it. Called only under the record's lock. */
export class LeaseFile {
  readonly #path: string;
  readonly #me: Owner;

  constructor(path: string, me: Owner) {
    this.#path = path;
    this.#me = me;
  }

  /** Takes the lease, or says for how many milliseconds it is not to be had. */
  take(token: string, leaseMs: number, now: number): number {
    const lease = this.#read(now);
    const held = lease !== undefined && lease.token !== token && lease.until > now;
    const reserved = lease !== undefined && lease.next !== NOBODY && lease.nextUntil > now;
    if (lease && lease.token !== token && (held || (reserved && lease.next !== token))) {
      if (!reserved || lease.next === token) this.#write({ ...lease, next: token, nextUntil: now + RESERVATION_MS });
      return Math.max(1, (held ? lease.until : lease.nextUntil) - now);
    }
    const keepsPlace = reserved && lease.next !== token;
    this.#write({
      token,
      until: now + leaseMs,
      owner: this.#me,
      next: keepsPlace ? lease.next : NOBODY,
      nextUntil: keepsPlace ? lease.nextUntil : 0,
    });
    return 0;
  }

  /** Does this token hold the lease? */
  holds(token: string, now: number): boolean {
    const lease = this.#read(now);
    return lease?.token === token && lease.until > now;
  }

  /** Is the lease held by anybody? */
  isHeld(now: number): boolean {
    return (this.#read(now)?.until ?? 0) > now;
  }

  /** Renews the lease, or without `keepMs` ends it. Called by who holds it. */
  settle(token: string, keepMs: number | undefined, now: number): void {
    const lease = this.#read(now);
    if (!lease) return;
    if (keepMs !== undefined) this.#write({ ...lease, token, until: now + keepMs });
    else if (lease.nextUntil > now) this.#write({ ...lease, token: NOBODY, until: 0 });
    else this.remove();
  }

  remove(): void {
    try {
      unlinkSync(this.#path);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }

  #read(now: number): Lease | undefined {
    let lease: Lease;
    try {
      lease = JSON.parse(readFileSync(this.#path, 'utf8')) as Lease;
    } catch (error) {
      // Half written: who did that died under the lock, and with it its lease.
      if (isMissing(error) || error instanceof SyntaxError) return undefined;
      throw error;
    }
    const ended = lease.until > now && lease.owner.nonce !== this.#me.nonce && stateOf(lease.owner) === 'dead';
    return ended ? { ...lease, token: NOBODY, until: 0 } : lease;
  }

  /**
   * Over what is there, in one write of at least a block: emptied first, a process that only asks could destroy the
   * lease of another by dying, or by finding the disk full.
   */
  #write(lease: Lease): void {
    const text = JSON.stringify(lease);
    const bytes = Buffer.from(text.padEnd(Math.ceil(text.length / BLOCK) * BLOCK));
    const file = openSync(this.#path, constants.O_RDWR | constants.O_CREAT);
    try {
      writeSync(file, bytes, 0, bytes.length, 0);
      if (fstatSync(file).size > bytes.length) ftruncateSync(file, bytes.length);
    } finally {
      closeSync(file);
    }
  }
}
