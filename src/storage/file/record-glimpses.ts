import type { Stats } from 'node:fs';
import { ROUNDING_MS } from './journal-file.js';

/** Records that are remembered: some 300 bytes each. */
const REMEMBERED = 20_000;

/** What a list says of a record. */
export interface Listed {
  readonly owner: string | undefined;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly expiresAt: number | undefined;
}

/** The same, with the state of the file that says so. */
export interface Glimpse extends Listed {
  readonly inode: number;
  readonly size: number;
  readonly mtimeMs: number;
}

/** Is a file in the state that a glimpse is of? Every commit, of any process, changes it. */
export function isSeen({ inode, size, mtimeMs }: Glimpse, stats: Stats): boolean {
  return stats.ino === inode && stats.size === size && Math.abs(stats.mtimeMs - mtimeMs) <= ROUNDING_MS;
}

/**
 * What lists need to know of records that are not in memory: a look at the state of the file then tells whether it is
 * still so, which costs a tenth of opening and reading it.
 */
export class RecordGlimpses {
  readonly #glimpses = new Map<string, Glimpse>();

  get(path: string): Glimpse | undefined {
    return this.#glimpses.get(path);
  }

  /** What there is of a record when it leaves memory; nothing where it is gone. */
  keep(path: string, glimpse: Glimpse | undefined): void {
    this.#glimpses.delete(path);
    if (!glimpse) return;
    if (this.#glimpses.size >= REMEMBERED) this.#glimpses.delete(this.#glimpses.keys().next().value as string);
    this.#glimpses.set(path, glimpse);
  }
}
