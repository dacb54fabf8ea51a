import { type ChildProcess, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { compiledWorker } from './compiled-workers.js';

const ROOT = resolve(import.meta.dirname, '../..');

/** A process of its own that runs TypeScript of the tests. */
export interface Worker {
  readonly process: ChildProcess;
  /** What it printed, line by line, as it comes. */
  readonly lines: AsyncIterableIterator<string>;
  /** Settles when it has ended: its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
}

/**
 * Starts a worker; its arguments arrive as one JSON text in `process.argv[2]`. Its errors go to ours; `env` adds to our
 * environment, and `limits` is what a shell does before it, as `ulimit -n 100`.
 */
export function startWorker(
  file: string,
  args: unknown,
  env: Readonly<Record<string, string>> = {},
  limits?: string,
): Worker {
  const command = [process.execPath, '--enable-source-maps', compiledWorker(file), JSON.stringify(args)];
  const [program = '', ...rest] =
    limits === undefined ? command : ['sh', '-c', `${limits}; exec "$0" "$@"`, ...command];
  const child = spawn(program, rest, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const reader = createInterface({ input: child.stdout });
  const ended = new Promise<number | NodeJS.Signals>((done) => {
    child.on('close', (code, signal) => done(signal ?? code ?? 1));
  });
  return { process: child, lines: reader[Symbol.asyncIterator](), ended };
}

/** Runs a worker to its end and returns what it printed. Rejects when it fails. */
export async function runWorker(
  file: string,
  args: unknown,
  env: Readonly<Record<string, string>> = {},
): Promise<string[]> {
  const worker = startWorker(file, args, env);
  const lines: string[] = [];
  for await (const line of worker.lines) lines.push(line);
  const code = await worker.ended;
  if (code !== 0) throw new Error(`the worker ${file} ended with ${code}`);
  return lines;
}
