import { closeSync, mkdirSync, openSync, readdirSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isMissing } from './file-errors.js';
import { fileName } from './file-name.js';

/** The directory in a container that holds, for each owner, one empty file per record. */
export const OWNERS = '.by-owner';

/**
 * Which records of a container belong to whom. An entry is made before the record names its owner, so none is
 * missing whoever dies when; one too many is found out when it is looked at.
 */
export class OwnerIndex {
  readonly #directory: string;

  constructor(container: string) {
    this.#directory = join(container, OWNERS);
  }

  add(owner: string, name: string): void {
    const path = this.#entry(owner, name);
    try {
      closeSync(openSync(path, 'a'));
    } catch (error) {
      if (!isMissing(error)) throw error;
      mkdirSync(dirname(path), { recursive: true });
      closeSync(openSync(path, 'a'));
    }
  }

  remove(owner: string, name: string): void {
    try {
      unlinkSync(this.#entry(owner, name));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }

  /** File names of records that belong, or belonged, to an owner. */
  names(owner: string): string[] {
    try {
      return readdirSync(join(this.#directory, fileName(owner)));
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }

  #entry(owner: string, name: string): string {
    return join(this.#directory, fileName(owner), name);
  }
}
