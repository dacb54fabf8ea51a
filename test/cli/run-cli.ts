import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type IPty, spawn as spawnPty } from '@lydell/node-pty';
import type { TerminalOptions } from '../../src/cli/terminal.js';

const BIN = fileURLToPath(new URL('../../bin/agentup.js', import.meta.url));
const BUILT = new URL('../../dist/cli/', import.meta.url);

/** What a run of the built command line left behind. */
export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Standard input; nothing when absent. */
  readonly input?: string;
}

/** The environment of a test's process: no colours, no CI, nothing of the runner's. */
export function cleanEnv(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const { PATH = '', HOME = '', TMPDIR } = process.env;
  return { PATH, HOME, ...(TMPDIR !== undefined && { TMPDIR }), ...extra };
}

/** Runs `agentup` as a process of its own. */
export function runCli(args: readonly string[], { cwd, env, input = '' }: RunOptions): Promise<Ran> {
  requireBuild();
  return run(process.execPath, [BIN, ...args], { cwd, env: env ?? {}, input });
}

/**
 * Runs the built command line in the process of the test: the same program in a tenth of the time, where what is asked
 * has nothing to do with a process, its start, its signals or its end. Modules of a project that it has loaded stay
 * loaded; a test that changes one needs `runCli`.
 */
export async function runHere(args: readonly string[], { cwd, env = {}, input = '' }: RunOptions): Promise<Ran> {
  requireBuild();
  const { runProgram } = (await import(new URL('program.js', BUILT).href)) as typeof import('../../src/cli/program.js');
  const { Terminal } = (await import(new URL('terminal.js', BUILT).href)) as typeof import('../../src/cli/terminal.js');
  const [stdin, stdout, stderr] = [Readable.from(input === '' ? [] : [input]), new Written(), new Written()];
  // What a process takes with it when it ends.
  const before = ENDINGS.map((event) => [event, process.listeners(event)] as const);
  try {
    const streams = { stdin, stdout, stderr } as unknown as Pick<TerminalOptions, 'stdin' | 'stdout' | 'stderr'>;
    const status = await runProgram(args, new Terminal({ ...streams, env: cleanEnv(env), cwd }));
    return { status, stdout: stdout.text, stderr: stderr.text };
  } finally {
    for (const [event, listeners] of before) {
      for (const listener of process.listeners(event)) {
        if (!listeners.includes(listener)) process.off(event, listener);
      }
    }
  }
}

const ENDINGS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

class Written extends Writable {
  text = '';

  constructor() {
    super({ decodeStrings: false });
  }

  override _write(chunk: string | Buffer, _encoding: string, done: () => void): void {
    this.text += chunk;
    done();
  }
}

/** Runs any program with a clean environment. */
export function run(program: string, args: readonly string[], { cwd, env = {}, input = '' }: RunOptions): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env: cleanEnv(env) });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, stdout, stderr }));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

/** Runs `agentup` and sends it SIGINT after so many milliseconds. */
export async function interruptCli(
  args: readonly string[],
  { cwd, afterMs }: { readonly cwd: string; readonly afterMs: number },
): Promise<void> {
  requireBuild();
  const child = spawn(process.execPath, [BIN, ...args], { cwd, env: cleanEnv(), stdio: 'ignore' });
  const timer = setTimeout(() => child.kill('SIGINT'), afterMs);
  await new Promise((resolve) => child.once('close', resolve));
  clearTimeout(timer);
}

/** Somebody at a terminal: a real one, of the operating system's making. */
export class Typist {
  readonly #pty: IPty;
  readonly exited: Promise<number>;
  #shown = '';
  #seen = 0;
  #changed: (() => void) | undefined;

  constructor(args: readonly string[], { cwd, env = {} }: Omit<RunOptions, 'input'>) {
    requireBuild();
    this.#pty = spawnPty(process.execPath, [BIN, ...args], {
      cwd,
      cols: 100,
      rows: 40,
      name: 'xterm-256color',
      env: cleanEnv({ NO_COLOR: '1', ...env }),
    });
    this.#pty.onData((text) => {
      this.#shown += text;
      this.#changed?.();
    });
    this.exited = new Promise((resolve) => {
      this.#pty.onExit(({ exitCode, signal }) => {
        resolve(signal ? 128 + signal : exitCode);
        this.#changed?.();
      });
    });
  }

  /** Everything the terminal was sent so far. */
  get shown(): string {
    return this.#shown;
  }

  get pid(): number {
    return this.#pty.pid;
  }

  /** Waits until this text comes, after whatever was waited for before. */
  async sees(text: string, withinMs = 10_000): Promise<void> {
    const deadline = Date.now() + withinMs;
    for (;;) {
      const at = this.#shown.indexOf(text, this.#seen);
      if (at >= 0) {
        this.#seen = at + text.length;
        return;
      }
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`${JSON.stringify(text)} did not come; the terminal shows:\n${this.#shown}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  type(text: string): void {
    this.#pty.write(text);
  }

  /** Hangs up: the terminal is gone. */
  hangUp(): void {
    this.#pty.kill('SIGHUP');
  }

  /** Ends the process where a test failed before it did. */
  stop(): void {
    try {
      this.#pty.kill('SIGKILL');
    } catch {
      // It has ended already.
    }
  }
}

export const KEYS = {
  enter: '\r',
  ctrlC: '\u0003',
  ctrlD: '\u0004',
  down: '\u001b[B',
  tab: '\t',
  up: '\u001b[A',
} as const;

function requireBuild(): void {
  if (!existsSync(new URL('../../dist/cli/main.js', import.meta.url))) {
    throw new Error('the command line has not been built: npm run build');
  }
}
