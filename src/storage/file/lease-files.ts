import { readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type BeginOptions, RESERVATION_MS } from '../state-storage.js';
import { isMissing } from './file-errors.js';
import { makeDirectory } from './make-directory.js';
import type { ProcessFiles, Spare } from './process-files.js';
import { type Owner, stateOf } from './process-owner.js';
import { statOf } from './stat-of.js';

/** What a lease file says. */
export interface Lease {
  /** Who may run a turn, and until when, in epoch milliseconds. */
  readonly token: string;
  readonly until: number;
  /** Who is served next, and for how long its place is kept. */
  readonly next?: string;
  readonly nextUntil?: number;
  /** The process behind it: when that is gone the lease has ended. */
  readonly owner: Owner;
}

/** A lease that this instance has taken, as long as nobody else has touched its file. */
interface Held extends Lease {
  token: string;
  until: number;
  readonly spare: Spare;
}

const NOBODY = '';
/** Longer than anything that is done while nobody may take a lease. */
const BARRED_MS = 60_000;

/**
 * The leases of records, each in a file beside its record. A lease that nobody disputes costs one system call to
 * take, one to look at, one to release. What anybody else does to it puts another file in its place, under the
 * record's lock: so whoever sees his own file there, under that lock, holds the lease still.
 */
export class LeaseFiles {
  readonly #files: ProcessFiles;
  readonly #held = new Map<string, Held>();
  /** Those that were written under the lock, and until when; others may have taken them over. */
  readonly #written = new Map<string, number>();

  constructor(files: ProcessFiles) {
    this.#files = files;
  }

  /** Takes the lease where there is no sign of another. Needs no lock. */
  tryTake(record: string, token: string, until: number): boolean {
    return this.#place(record, { token, until, owner: this.#files.me });
  }

  /** Takes the lease, or says for how many milliseconds it is not to be had. Under the record's lock. */
  take(record: string, token: string, leaseMs: number, now: number): number {
    // Where there is none others may take it at this moment: they need no lock for that. Where there is one they do.
    while (this.#files.linking && !statOf(leasePath(record))) {
      if (this.tryTake(record, token, now + leaseMs)) return 0;
    }
    const lease = this.#read(record);
    const held = lease !== undefined && lease.until > now && !this.#isOver(lease);
    const nextUntil = lease?.nextUntil ?? 0;
    const reserved = nextUntil > now;
    const mine = lease?.next === token;
    if (lease && (held ? lease.token !== token : reserved && !mine)) {
      if (!reserved || mine) this.#write(record, { ...lease, next: token, nextUntil: now + RESERVATION_MS });
      return Math.max(1, (held ? lease.until : nextUntil) - now);
    }
    const place = lease && reserved && !mine ? { next: lease.next as string, nextUntil } : {};
    this.#write(record, { token, until: now + leaseMs, ...place, owner: this.#files.me });
    return 0;
  }

  /** The lease, if it is this token that holds it. Under the record's lock. */
  heldBy(record: string, token: string, now: number): Lease | undefined {
    const lease = this.#undisputed(record) ?? this.#read(record);
    return lease?.token === token && lease.until > now ? lease : undefined;
  }

  /** Is the lease held by anybody? */
  isHeld(record: string, now: number): boolean {
    const lease = this.#read(record);
    return lease !== undefined && lease.until > now && !this.#isOver(lease);
  }

  /** Renews a lease, or without `keepMs` ends it. Under the same lock in which `heldBy` has answered with it. */
  settle(record: string, lease: Lease, keepMs: number | undefined, now: number): void {
    const held = this.#held.get(record);
    if (held && held === lease && keepMs !== undefined) {
      held.until = now + keepMs;
      this.#files.rewrite(held.spare, this.#text(held));
    } else if (keepMs !== undefined) this.#write(record, { ...lease, until: now + keepMs });
    else if ((lease.nextUntil ?? 0) > now) this.#write(record, { ...lease, token: NOBODY, until: 0 });
    else this.#remove(record);
  }

  /** Gives the lease to the next turn of this process, unless somebody waits for it. Under the same lock. */
  pass(
    record: string,
    lease: Lease,
    { token, leaseMs }: Pick<BeginOptions, 'token' | 'leaseMs'>,
    now: number,
  ): boolean {
    if ((lease.nextUntil ?? 0) > now) return false;
    const passed = { token, until: now + leaseMs };
    const held = this.#held.get(record);
    if (held && held === lease) this.#files.rewrite(held.spare, this.#text(Object.assign(held, passed)));
    else this.#write(record, { ...passed, owner: this.#files.me });
    return true;
  }

  /** Does something while nobody can take the lease; not where somebody has it. Under the record's lock. */
  without<R>(record: string, now: number, action: () => R): R | undefined {
    // From here on a lease that is there can only be taken over under the lock.
    const barred = this.tryTake(record, 'nobody', now + BARRED_MS);
    if (!barred && this.isHeld(record, now)) return undefined;
    try {
      return action();
    } finally {
      // The place of who waits stays, and what others have put there.
      if (!barred) this.clear(record, now);
      else if (this.#undisputed(record)) this.#remove(record);
    }
  }

  /** Removes what is left of a lease that has ended. Under the record's lock. */
  clear(record: string, now: number): void {
    if (!statOf(leasePath(record))) return;
    const lease = this.#read(record);
    if (lease && ((lease.nextUntil ?? 0) > now || (lease.until > now && !this.#isOver(lease)))) return;
    this.#remove(record);
  }

  /**
   * Makes a file of a lease that had none, in place of what those have left who are gone. It is not kept open: there may
   * be more of them than files that this process may open.
   */
  put(record: string, given: Required<Omit<Lease, 'owner'>>): void {
    const lease = { ...given, owner: this.#files.me };
    try {
      this.#write(record, lease);
    } catch (error) {
      if (!isMissing(error)) throw error;
      // Of a record that has never been written.
      makeDirectory(dirname(record));
      this.#write(record, lease);
    }
  }

  /** Removes such a file again, if it is still there. */
  takeBack(record: string, { token }: Pick<Lease, 'token'>): void {
    if (this.#read(record)?.token === token) this.#remove(record);
  }

  /** Takes the leases of this instance out of their files, while no other process writes. */
  *adopt(): Generator<[record: string, lease: Lease]> {
    for (const record of [...this.#held.keys(), ...this.#written.keys()]) {
      const lease = this.#read(record);
      if (lease?.owner.nonce !== this.#files.me.nonce) continue;
      yield [record, lease];
      this.#remove(record);
    }
    this.#written.clear();
  }

  /** Until when the last of this instance's leases lasts. */
  outUntil(now: number): number {
    let last = 0;
    for (const [record, { until }] of this.#held) if (this.#mayBeOut(record, until, now)) last = Math.max(last, until);
    for (const [record, until] of this.#written) if (this.#mayBeOut(record, until, now)) last = Math.max(last, until);
    return last;
  }

  /** The leases of this instance are lost: others do not know of it any more, and may have begun the same turns. */
  lose(): void {
    for (const record of [...this.#held.keys(), ...this.#written.keys()]) {
      if (this.#read(record)?.owner.nonce === this.#files.me.nonce) this.#remove(record);
    }
  }

  /** Others would wait with what they do alone for a lease that has been given up, or taken over. */
  #mayBeOut(record: string, until: number, now: number): boolean {
    if (until <= now) return false;
    try {
      const lease = this.#read(record);
      return lease?.owner.nonce === this.#files.me.nonce && lease.token !== NOBODY;
    } catch {
      return true;
    }
  }

  #place(record: string, lease: Lease): boolean {
    const spare = this.#files.place(leasePath(record), this.#text(lease));
    if (!spare) return false;
    this.#forget(record);
    this.#held.set(record, { ...lease, spare });
    return true;
  }

  /** The lease of this instance on a record, if its file is the one that stands there. */
  #undisputed(record: string): Held | undefined {
    const held = this.#held.get(record);
    if (!held) return undefined;
    if (statOf(leasePath(record))?.ino === held.spare.inode) return held;
    this.#forget(record);
    return undefined;
  }

  #read(record: string): Lease | undefined {
    try {
      const lease = JSON.parse(readFileSync(leasePath(record), 'utf8')) as Lease | null;
      return typeof lease?.token === 'string' && typeof lease.owner === 'object' ? lease : undefined;
    } catch (error) {
      // Lost in a power cut, and with it its turn.
      if (isMissing(error) || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  #write(record: string, lease: Lease): void {
    const path = leasePath(record);
    writeFileSync(`${path}.tmp`, `${this.#text(lease)}\n`);
    renameSync(`${path}.tmp`, path);
    this.#forget(record);
    if (lease.owner === this.#files.me) this.#written.set(record, lease.until);
  }

  #remove(record: string): void {
    try {
      unlinkSync(leasePath(record));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    this.#forget(record);
    this.#written.delete(record);
  }

  /** Called only when the file of a held lease no longer stands there. */
  #forget(record: string): void {
    const held = this.#held.get(record);
    if (!held) return;
    this.#held.delete(record);
    this.#files.giveBack(held.spare);
  }

  #isOver({ owner }: Lease): boolean {
    return owner.nonce !== this.#files.me.nonce && stateOf(owner) === 'dead';
  }

  #text({ token, until, next, nextUntil, owner }: Lease): string {
    const place = next === undefined ? '' : `"next":"${next}","nextUntil":${nextUntil ?? 0},`;
    const ownerText = owner === this.#files.me ? this.#files.meText : JSON.stringify(owner);
    return `{"token":"${token}","until":${until},${place}"owner":${ownerText}}`;
  }
}

function leasePath(record: string): string {
  return `${record}.lease`;
}
