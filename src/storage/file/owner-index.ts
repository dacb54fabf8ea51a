import { closeSync, mkdirSync, openSync, rmdirSync, unlinkSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { isMissing } from './file-errors.js';
import { fileName } from './file-name.js';

/** The directory of a space that holds, for each owner, one empty file per record, where the record's own would be. */
export const OWNERS = '.by-owner';

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
        closeSync(openSync(entry, 'a'));
        return;
      } catch (error) {
        // Its directory may also be removed, being empty, just when it has been made.
        if (!isMissing(error) || tries === 9) throw error;
        mkdirSync(dirname(entry), { recursive: true });
      }
    }
  }

  remove(owner: string, path: string): void {
    const entry = this.entry(owner, path);
    try {
      unlinkSync(entry);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    try {
      // The last one takes the directory along, so that owners who are gone leave nothing.
      rmdirSync(dirname(entry));
    } catch {
      // There are others.
    }
  }
}
