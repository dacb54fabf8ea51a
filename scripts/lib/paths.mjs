import { realpathSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** The project's directory. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** @param {...string} parts */
export const inRoot = (...parts) => join(root, ...parts);

/** What the scripts keep between runs; not tracked, safe to delete. */
export const scratch = inRoot('.cache');

/**
 * A path below the project's directory as it is written in reports.
 * @param {string} path
 */
export const shown = (path) => relative(root, path).split(sep).join('/');

/**
 * Whether a module is the program that node was asked to run.
 * @param {string} url  the module's `import.meta.url`
 */
export function isMain(url) {
  const program = process.argv[1];
  return program !== undefined && url === pathToFileURL(realpathSync(program)).href;
}
