import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { usage } from './interview.js';
import type { Terminal } from './terminal.js';

/** The flags that say where a command works. */
export interface PlaceFlags {
  readonly cwd?: string | undefined;
  readonly config?: string | undefined;
}

/** The directory a command works in, absolute. @throws USAGE when `--cwd` is not a directory */
export function workingDirectory(flags: PlaceFlags, terminal: Terminal): string {
  if (flags.cwd === undefined) return terminal.cwd;
  const directory = resolve(terminal.cwd, flags.cwd);
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
    throw usage(`--cwd: ${directory} is not a directory`, '--cwd');
  }
  return directory;
}
