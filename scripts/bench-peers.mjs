import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { withLock } from './lib/lock.mjs';
import { inRoot } from './lib/paths.mjs';
import { run, runNode } from './lib/run.mjs';

const peers = inRoot('bench', 'peers');
/** Says which lock file `node_modules` was made from, and that what had to be compiled was tried. */
const stamp = join(peers, 'node_modules', '.bench-peers');

/**
 * Installs the packages that the benchmark compares with, in `bench/peers`; does nothing when they are there. Only
 * better-sqlite3 runs a script: where it cannot be compiled its rows are left out and the rest is measured.
 * @returns {Promise<number>} the exit code of npm, 0 when nothing was to be done
 */
export async function installPeers() {
  const wanted = createHash('sha256')
    .update(readFileSync(join(peers, 'package-lock.json')))
    .digest('hex');
  if (isStamped(wanted)) return 0;
  return withLock('install-peers', async () => {
    if (isStamped(wanted)) return 0;
    console.error('installing the peers of the benchmark (npm ci in bench/peers)');
    // Without scripts: whether npm runs them unasked depends on its version.
    const installed = await npm(['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']);
    if (installed !== 0) return installed;
    console.error('compiling better-sqlite3, which takes some minutes where no prebuilt binary can be had');
    // Newer versions of npm ask `allowScripts` in package.json, older ones run what they are told to.
    const compiled = await npm(['rebuild', 'better-sqlite3', '--ignore-scripts=false', '--loglevel=error']);
    if (compiled !== 0) console.error('better-sqlite3 could not be compiled: its rows will be left out');
    writeFileSync(stamp, wanted);
    return 0;
  });
}

/** @param {string} wanted */
function isStamped(wanted) {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted;
}

/** @param {string[]} args */
function npm(args) {
  const program = process.env['npm_execpath'];
  const options = { cwd: peers, quiet: true, env: headers() };
  return program?.endsWith('npm-cli.js') ? runNode(program, args, options) : run('npm', args, options);
}

/** Where this Node brought its own headers, node-gyp need not download them. */
function headers() {
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? { npm_config_nodedir: prefix } : {};
}
