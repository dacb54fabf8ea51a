import { type Stats, statSync } from 'node:fs';

/** The state of a file, or `undefined` where there is none. */
export function statOf(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}
