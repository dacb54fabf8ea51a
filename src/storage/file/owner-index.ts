import { closeSync, linkSync, openSync, rmdirSync, rmSync, unlinkSync } from 'node:fs';
import { basename, dirname, relative } from 'node:path';
import { codeOf, isMissing } from './file-errors.js';
import { fileName } from './file-name.js';
import { makeDirectory } from './make-directory.js';

/** The directory of a space that holds, for each owner, one empty file per record, where the record's own would be. */
export const OWNERS = '.by-owner';
/** In it, the empty file that entries are links to. */
const SEED = '.entry';

/**
 * Which records of a space belong to whom. An entry is made before the record names its owner, so none is missing
 * whoever dies when; one too many is found out, and removed, when it is looked at.
 */
export class OwnerIndex {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  /** The directory with the entries of an owner's records in a container. */
  directory(owner: string, container: string): string {
    const [space, ...scope] = relative(this.#root, container).split(/[\\/]/);
    return [this.#root, space, OWNERS, fileName(owner), ...scope].join('/');
  }

  /** The entry of the record at `path`. */
  entry(owner: string, path: string): string {
    return this.directory(owner, dirname(path)) + path.slice(dirname(path).length);
  }

  add(owner: string, path: string): void {
    const entry = this.entry(owner, path);
    for (let tries = 0; ; tries++) {
      try {
        this.#make(entry, `${this.#spaceOf(path)}/${OWNERS}/${SEED}`);
        return;
      } catch (error) {
        // Its directory may also be removed, being empty, just when it has been made.
        if (!isMissing(error) || tries === 9) throw error;
        makeDirectory(dirname(entry));
      }
    }
  }

  /** @param emptied is told the directory of the entry, for `tidy` when all are gone; without it that is done here */
  remove(owner: string, path: string, emptied?: Set<string>): void {
    const entry = this.entry(owner, path);
    try {
      unlinkSync(entry);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    if (emptied) emptied.add(dirname(entry));
    else this.tidy(dirname(entry));
  }

  /** Removes a directory of entries, and those above it, if it is empty: owners who are gone leave nothing. */
  tidy(directory: string): void {
    try {
      for (let last = directory; basename(last) !== OWNERS; last = dirname(last)) rmdirSync(last);
    } catch {
      // There are others.
    }
  }

  /** Entries are links to one empty file: on a busy disk a new file costs a hundred times as much. */
  #make(entry: string, seed: string): void {
    try {
      linkSync(seed, entry);
    } catch (error) {
      const code = codeOf(error);
      if (code === 'EEXIST') return;
      closeSync(openSync(entry, 'a'));
      // There is none yet, or it has as many links as it can have.
      if (isMissing(error) || code === 'EMLINK') this.#renew(entry, seed);
    }
  }

  /** Makes an entry the one that others are linked to. */
  #renew(entry: string, seed: string): void {
    try {
      rmSync(seed, { force: true });
      linkSync(entry, seed);
    } catch {
      // Somebody else has done so at this moment, or there are no links here.
    }
  }

  #spaceOf(path: string): string {
    return path.slice(0, path.indexOf('/', this.#root.length + 1));
  }
}
