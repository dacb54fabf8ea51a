import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { root } from './paths.mjs';

/**
 * @typedef {object} RunOptions
 * @property {NodeJS.ProcessEnv} [env]  added to this process's environment
 * @property {boolean} [quiet]  show the output only when the program fails
 * @property {string} [cwd]
 */

const PATIENCE_MS = 3_000;

/**
 * Runs a program to its end and answers its exit code. It never outlives this process: an interrupt or a request to
 * end is passed on, then enforced, and this process then ends with the status of the signal.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<number>}
 */
export function run(program, args, { env, quiet = false, cwd = root } = {}) {
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit',
    shell: process.platform === 'win32' && !program.includes('\\'),
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk) => {
      output += chunk;
    });
  }

  /** @type {NodeJS.Timeout[]} */
  const timers = [];
  /** @type {NodeJS.Signals | undefined} */
  let ending;
  const kill = () => child.kill('SIGKILL');
  /** @param {NodeJS.Signals} signal */
  const end = (signal) => {
    if (ending !== undefined) return;
    ending = signal;
    // A terminal has sent Ctrl-C to the whole group already; a second one would read as "now, without cleaning up".
    timers.push(setTimeout(() => child.kill('SIGTERM'), signal === 'SIGINT' ? PATIENCE_MS : 0));
    timers.push(setTimeout(kill, 2 * PATIENCE_MS));
  };
  const signals = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);
  for (const signal of signals) process.on(signal, end);
  process.on('exit', kill);

  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      const failed = code ?? 128 + constants.signals[/** @type {NodeJS.Signals} */ (signal)];
      if (ending !== undefined) process.exit(128 + constants.signals[ending]);
      if (failed !== 0 && quiet) process.stderr.write(output);
      resolve(failed);
    });
  }).finally(() => {
    for (const timer of timers) clearTimeout(timer);
    for (const signal of signals) process.off(signal, end);
    process.off('exit', kill);
  });
}

/**
 * The same for a JavaScript program below `node_modules`.
 * @param {string} script
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 */
export function runNode(script, args, options) {
  return run(process.execPath, [script, ...args], options);
}
