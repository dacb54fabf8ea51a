import { readdirSync, readFileSync, rmSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { isLongGone, type Marker, removeIfGone, SILENCE_MS } from './dead-marks.js';
import { isMissing } from './file-errors.js';
import { parseOwner } from './process-owner.js';
import { statOf } from './stat-of.js';

/** What an owner file is called until all of it is written. */
export const NEW = '.new';

/** The files of the other processes that write into a directory. */
export class OtherProcesses {
  readonly #directory: string;
  readonly #me: string;
  readonly #now: () => number;
  readonly #makeMark: Marker;

  /**
   * @param directory the one of the processes
   * @param me the nonce of this one
   * @param now of the storage: what leases end by
   */
  constructor(directory: string, me: string, now: () => number, mark: Marker) {
    this.#directory = directory;
    this.#me = me;
    this.#now = now;
    this.#makeMark = mark;
  }

  /** Are there files of other processes? Those of the dead go. */
  live(): boolean {
    let found = false;
    const names = new Set(readdirSync(this.#directory));
    for (const name of names) {
      const [nonce = ''] = name.split('.', 1);
      if (name.includes('.dead-')) this.#removeBreaker(name);
      if (nonce === '' || nonce === this.#me) continue;
      if (name !== nonce) this.#removeOrphan(name, nonce, names);
      else if (!this.#removeIfOver(name)) found = true;
    }
    return found;
  }

  /** Of one who died while it broke the mark of a dead one. */
  #removeBreaker(name: string): void {
    try {
      removeIfGone(join(this.#directory, name), this.#makeMark);
    } catch {
      // It is another user's, and in nobody's way.
    }
  }

  /** A process makes its owner file before any other, and removes it after them: what others made in its name is left. */
  #removeOrphan(name: string, nonce: string, names: ReadonlySet<string>): void {
    const path = join(this.#directory, name);
    if (names.has(nonce) || statOf(join(this.#directory, nonce))) return;
    // But for the one that is to become the owner file.
    if (name.endsWith(NEW) && Date.now() - (statOf(path)?.ctimeMs ?? 0) < SILENCE_MS) return;
    rmSync(path, { force: true });
  }

  /** Removes what a process has left. False where it lives, or may live. */
  #removeIfOver(name: string): boolean {
    const path = join(this.#directory, name);
    try {
      const text = readFileSync(path, 'utf8');
      const owner = parseOwner(text);
      const over = isLongGone({ owner, stats: statSync(path) }) || (owner && this.#hasLeft(text));
      if (!over) return false;
      for (const other of readdirSync(this.#directory)) {
        if (other.startsWith(`${name}.`)) unlinkSync(join(this.#directory, other));
      }
      unlinkSync(path);
    } catch (error) {
      // Another process has just done the same; or they belong to another user, and may be in use.
      return isMissing(error);
    }
    return true;
  }

  /** Was its storage closed, and have the leases ended that it had then? */
  #hasLeft(text: string): boolean {
    const { leasesUntil } = JSON.parse(text) as { leasesUntil?: number };
    return leasesUntil !== undefined && leasesUntil <= this.#now();
  }
}
