import { readFileSync } from 'node:fs';
import { withLock } from './lib/lock.mjs';
import { inRoot, isMain } from './lib/paths.mjs';
import { run, runNode } from './lib/run.mjs';

/**
 * Makes `node_modules` what `package-lock.json` says, with `npm ci`; does nothing when it already is. npm's output is
 * shown only when it fails.
 * @returns {Promise<number>} the exit code of npm, 0 when nothing was to be done
 */
export async function ensureInstalled() {
  if (isInstalled()) return 0;
  return withLock('install', async () => {
    if (isInstalled()) return 0;
    console.log('installing dependencies (npm ci)');
    const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
    const npm = process.env['npm_execpath'];
    return npm?.endsWith('npm-cli.js') ? runNode(npm, args, { quiet: true }) : run('npm', args, { quiet: true });
  });
}

/**
 * npm writes down what it installed, as the last thing it does. Every package of the lock file must be there in the
 * same version, except the optional ones for other platforms.
 */
function isInstalled() {
  const installed = packagesOf(inRoot('node_modules', '.package-lock.json'));
  const wanted = packagesOf(inRoot('package-lock.json'));
  if (!installed || !wanted) return false;
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true;
    const found = installed[path];
    return found === undefined ? optional === true : found.version === version;
  });
}

/**
 * @param {string} file
 * @returns {Record<string, { version?: string, optional?: boolean }> | undefined}
 */
function packagesOf(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

if (isMain(import.meta.url)) process.exitCode = await ensureInstalled();
