import { breakIfGone, type Holder, isLongGone, type Marker } from './dead-marks.js';
import { OtherWriter } from './other-writer.js';
import type { Owner } from './process-owner.js';
import { SOLE } from './sole-mark.js';
import { SoleWriter } from './sole-writer.js';

/** How soon a process that writes beside others looks whether they have gone, and at the latest. */
const RETRY_MS = 1_000;
const RETRY_AT_MOST_MS = 30_000;

/** How this process may write into a directory: alone, and then without locks, or beside others. */
export class WriteAccess {
  readonly sole: SoleWriter;
  readonly #directory: string;
  readonly #mark: string;
  readonly #me: Owner;
  readonly #othersLive: () => boolean;
  readonly #makeMark: Marker;
  #other: OtherWriter | undefined;
  #retryAt = 0;
  #retryMs = RETRY_MS;

  /**
   * @param directory the one of the processes
   * @param othersLive are there files of other processes in it? Ours are there, so that others see them.
   */
  constructor(directory: string, me: Owner, othersLive: () => boolean, mark: Marker) {
    this.#directory = directory;
    this.#mark = `${directory}/${SOLE}`;
    this.#me = me;
    this.#othersLive = othersLive;
    this.#makeMark = mark;
    this.sole = new SoleWriter(directory, me.nonce, JSON.stringify(me));
  }

  /** The process that is waited for. */
  get waitsFor(): Owner | undefined {
    return this.#other?.owner;
  }

  /** Begins to write into the directory, where ours are the files of a process that does. */
  join(): void {
    SoleWriter.endHere(this.#mark);
    // Until it is known that nobody writes alone, also where looking for that fails.
    this.#other = new OtherWriter(this.#mark, this.#directory, this.#me);
    this.sole.removed = false;
    this.#retryMs = RETRY_MS;
    this.#tryAlone();
    if (this.sole.held) this.#other = undefined;
  }

  /** Tries again to be alone, now and then. Not while it writes. */
  retry(): void {
    if (this.sole.held || this.#other || performance.now() < this.#retryAt) return;
    try {
      this.#tryAlone();
    } catch {
      // Locks do as well.
    }
  }

  /** May locks be taken? Not while another process goes without. */
  mayLock(): boolean {
    if (this.sole.removed) return false;
    if (this.#other?.isGone()) this.#other = undefined;
    return this.#other === undefined || this.#other.isIdle();
  }

  /** May leases be taken that are files? Not while another process may have some that are none. */
  mayLease(): boolean {
    if (this.sole.removed) return false;
    if (this.#other?.isGone()) this.#other = undefined;
    return this.#other === undefined;
  }

  #tryAlone(): void {
    this.#retryAt = performance.now() + this.#retryMs;
    this.#retryMs = Math.min(RETRY_AT_MOST_MS, 2 * this.#retryMs);
    // Who died with the mark has left nothing else that could count.
    breakIfGone(this.#mark, this.#mark, this.#makeMark, isSoleGone);
    if (this.#othersLive() || !this.sole.take()) return;
    let alone = false;
    try {
      // Looked for again behind the mark: who comes from now on sees it.
      alone = !this.#othersLive() && this.sole.begin();
    } finally {
      if (!alone) this.sole.leave();
    }
    if (alone) this.#retryMs = RETRY_MS;
  }
}

/** Whoever asks gives the state a name, and with it another time of change: its text is its own process's only. */
function isSoleGone(holder: Holder): boolean {
  return isLongGone(holder, holder.stats.mtimeMs);
}
