import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { codeOf, isMissing } from './file-errors.js';

/**
 * Makes a directory and those above it that are missing. Node's own `recursive` never returns where a directory can
 * be made by nobody although the one above is there (`/proc/x`).
 * @throws ENOENT there, and whatever else the file system says
 */
export function makeDirectory(path: string): void {
  const above = dirname(path);
  try {
    mkdirSync(path);
    return;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return;
    if (!isMissing(error) || above === path) throw error;
  }
  makeDirectory(above);
  try {
    mkdirSync(path);
  } catch (error) {
    // Another process was faster.
    if (codeOf(error) !== 'EEXIST') throw error;
  }
}
