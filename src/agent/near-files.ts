import { readdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { closest } from '../config/suggest.js';

/** Most names that are compared in one check: who has moved a directory of many skills needs no hint for each. */
const MAX_NAMES = 200_000;

/** What files that are not there were meant to be, by the names beside them. Each directory is read once. */
export class NearFiles {
  readonly #names = new Map<string, readonly string[]>();
  #left = MAX_NAMES;

  /** The name that is nearest to that of `file`, if any is near, and it has not been asked for too many. */
  of(file: string): string | undefined {
    const names = this.#in(dirname(file));
    if (names.length > this.#left) return undefined;
    this.#left -= names.length;
    return closest(basename(file), names);
  }

  #in(directory: string): readonly string[] {
    let names = this.#names.get(directory);
    if (!names) {
      names = filesIn(directory);
      this.#names.set(directory, names);
    }
    return names;
  }
}

function filesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
