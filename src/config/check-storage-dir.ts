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
