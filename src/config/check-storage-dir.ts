import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** Why a directory can neither be written to nor be created, or nothing. Creates nothing. */
export function storageDirProblem(directory: string): string | undefined {
  if (directory.includes('\0')) return 'its name holds a NUL character';
  for (let path = directory; ; path = dirname(path)) {
    try {
      if (!statSync(path).isDirectory()) return `${path} is not a directory`;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // ENOTDIR: something above is a file; the way up ends there.
      if ((code === 'ENOENT' || code === 'ENOTDIR') && dirname(path) !== path) continue;
      return `${path} cannot be looked at (${code})`;
    }
    try {
      accessSync(path, constants.W_OK | constants.X_OK);
      return undefined;
    } catch (error) {
      return `${path} is not writable (${(error as NodeJS.ErrnoException).code})`;
    }
  }
}

/**
 * What to write for a directory in `~`, which only shells take for the home directory: here it would be one of that
 * name. Nothing where it is not.
 */
export function outsideHome(directory: string): string | undefined {
  return /^~(?:[\\/]|$)/.test(directory) ? `\${HOME}${directory.slice(1)}` : undefined;
}
