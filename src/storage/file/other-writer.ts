import { linkSync, readdirSync, unlinkSync } from 'node:fs';
import { NAMELESS_MS, SILENCE_MS } from './dead-marks.js';
import { codeOf, isMissing } from './file-errors.js';
import { type Owner, stateOf } from './process-owner.js';
import { readSoleMark, type SoleState, uptimeMs, VOUCHED_MS } from './sole-mark.js';
import { statOf } from './stat-of.js';

/** Between asking and looking, and between two looks: by then every processor sees what another one has written. */
const PAUSE_MS = 1;

/**
 * Another process that writes into the directory alone, and is asked to do so no longer. It may not hear of it, because
 * it computes or has been stopped: once it is known to write nothing, and to have no leases, it is not waited for.
 */
export class OtherWriter {
  readonly #mark: string;
  readonly #directory: string;
  readonly #me: Owner;
  #seen: SoleState | undefined;
  #seenAt = 0;
  #idleAt: number | undefined;
  #gone = false;

  /** @param mark in the directory of the processes */
  constructor(mark: string, directory: string, me: Owner) {
    this.#mark = mark;
    this.#directory = directory;
    this.#me = me;
  }

  get owner(): Owner | undefined {
    return this.#seen?.owner;
  }

  /** Does it write nothing without a lock any more, as far as this is known now? Asks, and looks. */
  isIdle(): boolean {
    this.#look();
    return this.#gone || this.#idleAt !== undefined;
  }

  /** Are there no leases of it any more that nobody can see? */
  isGone(): boolean {
    this.#look();
    if (this.#seen && this.#idleAt !== undefined && this.#vouchedUntil(this.#seen, this.#idleAt) <= uptimeMs())
      this.#gone = true;
    return this.#gone;
  }

  #look(): void {
    if (this.#gone || uptimeMs() - this.#seenAt < PAUSE_MS) return;
    const state = readSoleMark(this.#mark);
    if (!state || (state.owner && stateOf(state.owner) === 'dead')) this.#gone = true;
    else if (this.#ask(state)) {
      // A number that is being written may be read in parts: what is read twice is one.
      const same = state.text === this.#seen?.text;
      if (same && (!state.busy || this.#isSilent(state))) this.#idleAt ??= uptimeMs();
      this.#seen = state;
    }
    this.#seenAt = uptimeMs();
  }

  /** Gives the state a further name. Has it had it before? */
  #ask({ owner }: SoleState): boolean {
    const name = `${this.#directory}/${owner?.nonce ?? 'nobody'}.asked-${this.#me.nonce}`;
    const there = statOf(name)?.ino;
    if (there !== undefined && there === statOf(this.#mark)?.ino) return true;
    try {
      linkSync(this.#mark, name);
      this.#tidy(name.slice(0, name.lastIndexOf('-') + 1));
    } catch (error) {
      // The name of a state that it had before.
      if (codeOf(error) === 'EEXIST') unlinkSync(name);
      else if (!isMissing(error)) throw error;
    }
    this.#seen = undefined;
    this.#idleAt = undefined;
    return false;
  }

  /** Those who have asked and gone: one name tells as much as many, and whoever does nothing removes none. */
  #tidy(start: string): void {
    try {
      for (const name of readdirSync(this.#directory)) {
        const path = `${this.#directory}/${name}`;
        if (path.startsWith(start) && !statOf(`${this.#directory}/${path.slice(start.length)}`)) unlinkSync(path);
      }
    } catch {
      // Another one does the same, or they cannot be removed: they are in nobody's way.
    }
  }

  /** From when on no lease counts that it has given, on our clock. It says no later moment once it has been asked. */
  #vouchedUntil({ until, owner }: SoleState, idleAt: number): number {
    if (until === 0) return until;
    const latest = idleAt + VOUCHED_MS;
    return owner?.boot === this.#me.boot ? Math.min(until, latest) : latest;
  }

  /** Has a process of which we cannot know whether it lives died while it was writing? */
  #isSilent({ owner }: SoleState): boolean {
    if (owner && stateOf(owner) !== 'unknown') return false;
    // Not the time of change: those who ask set that.
    return Date.now() - (statOf(this.#mark)?.mtimeMs ?? 0) > (owner ? SILENCE_MS : NAMELESS_MS);
  }
}
