import { createHash } from 'node:crypto';
import type { Logger } from '../../logger.js';
import type { Lease as TableLease } from '../lease.js';
import type { BeginOptions } from '../state-storage.js';
import { isTooMany } from './file-errors.js';
import { type Lease as FileLease, LeaseFiles } from './lease-files.js';
import { LeaseTable } from './lease-table.js';
import type { ProcessFiles } from './process-files.js';
import type { UnwrittenLeases } from './sole-writer.js';

/** When to ask again where it is not known yet who has leases. */
export const ASK_AGAIN_MS = 20;
const SHORT = /^[\w-]{1,64}$/;

/** A lease that is held, to be passed back. */
export type HeldLease = FileLease | TableLease;

/** The leases of records: in memory where this process writes alone, in files beside the records otherwise. */
export class RecordLeases implements UnwrittenLeases {
  readonly #files: LeaseFiles;
  readonly #table = new LeaseTable();
  readonly #access: ProcessFiles['access'];
  readonly #now: () => number;
  readonly #logger: Logger;
  readonly #makeRoom: () => boolean;

  /** @param makeRoom closes open files of this process; false where there are none */
  constructor(files: ProcessFiles, now: () => number, logger: Logger, makeRoom: () => boolean) {
    this.#makeRoom = makeRoom;
    this.#files = new LeaseFiles(files);
    this.#access = files.access;
    this.#access.sole.leases = this;
    files.onRemoved = () => this.#files.lose();
    this.#now = now;
    this.#logger = logger;
  }

  /** Takes the lease where there is no sign of another. Needs no lock. */
  tryTake(record: string, asked: string, leaseMs: number, now: number): boolean {
    const token = short(asked);
    if (this.#access.sole.vouch(false)) return this.#table.tryTake(record, token, now + leaseMs, now);
    return this.#access.mayLease() && this.#files.tryTake(record, token, now + leaseMs);
  }

  /** Takes the lease, or says for how many milliseconds it is not to be had. Under the record's lock. */
  take(record: string, asked: string, leaseMs: number, now: number): number {
    const token = short(asked);
    if (this.#access.sole.vouch(true)) return this.#table.take(record, token, leaseMs, now);
    return this.#access.mayLease() ? this.#files.take(record, token, leaseMs, now) : ASK_AGAIN_MS;
  }

  /** The lease, if it is this token that holds it. Under the record's lock. */
  heldBy(record: string, asked: string, now: number): HeldLease | undefined {
    return this.#there.heldBy(record, short(asked), now);
  }

  /** Is the lease held by anybody, or may it be? */
  isHeld(record: string, now: number): boolean {
    return !this.known || this.#there.isHeld(record, now);
  }

  /** Renews a lease, or without `keepMs` ends it. Under the same lock in which `heldBy` has answered with it. */
  settle(record: string, lease: HeldLease, keepMs: number | undefined, now: number): void {
    if ('owner' in lease) this.#files.settle(record, lease, keepMs, now);
    else this.#table.settle(record, lease, keepMs, now);
  }

  /** Gives the lease to the next turn of this process, unless somebody waits for it. Under the same lock. */
  pass(
    record: string,
    lease: HeldLease,
    { token, leaseMs }: Pick<BeginOptions, 'token' | 'leaseMs'>,
    now: number,
  ): boolean {
    const next = { token: short(token), leaseMs };
    return 'owner' in lease ? this.#files.pass(record, lease, next, now) : this.#table.pass(lease, next, now);
  }

  /** Does something while nobody can take the lease; not where somebody has it. Under the record's lock. */
  without<R>(record: string, now: number, action: () => R): R | undefined {
    if (!this.#access.sole.held) return this.known ? this.#files.without(record, now, action) : undefined;
    if (this.#table.isHeld(record, now)) return undefined;
    const answer = action();
    this.#files.clear(record, now);
    return answer;
  }

  /** Removes what is left of a lease that has ended. Under the record's lock. */
  clear(record: string, now: number): void {
    if (this.known) this.#files.clear(record, now);
  }

  /** Until when the last lease lasts that this instance has in a file. */
  outUntil(): number {
    return this.#files.outUntil(this.#now());
  }

  get size(): number {
    return this.#table.size;
  }

  tidy(): void {
    this.#table.tidy(this.#now());
  }

  /** Is it known who has leases? */
  get known(): boolean {
    return this.#access.sole.held || this.#access.mayLease();
  }

  adopt(): void {
    for (const [record, { token, until, next, nextUntil }] of this.#files.adopt()) {
      this.#table.set(record, { token, until, next: next ?? '', nextUntil: nextUntil ?? 0 });
    }
  }

  publish(valid: () => boolean): void {
    const put: [record: string, lease: TableLease][] = [];
    for (const [record, lease] of this.#table.out(this.#now())) {
      if (!valid()) break;
      try {
        this.#put(record, lease);
        put.push([record, lease]);
      } catch (error) {
        this.#logger.warn(error, `the lease of ${record} could not be written, and is lost`);
      }
    }
    // Who stands still for that long finds others at work.
    if (!valid()) for (const [record, lease] of put) this.#files.takeBack(record, lease);
  }

  #put(record: string, lease: TableLease): void {
    try {
      this.#files.put(record, lease);
    } catch (error) {
      if (!isTooMany(error) || !this.#makeRoom()) throw error;
      this.#files.put(record, lease);
    }
  }

  drop(): void {
    this.#table.drop();
  }

  get #there(): LeaseFiles | LeaseTable {
    return this.#access.sole.held ? this.#table : this.#files;
  }
}

/** Tokens may be as long as ids; a file has room for less. */
function short(token: string): string {
  return SHORT.test(token) ? token : createHash('sha256').update(token).digest('hex');
}
