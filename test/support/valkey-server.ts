import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findValkeyServer, VALKEY_ADVICE } from '../../scripts/lib/valkey-binary.mjs';

/** A real Valkey of our own on a loopback port. */
export interface ValkeyServer {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Ends the server and removes its private directory. Idempotent. */
  stop(): Promise<void>;
  /** Ends the server with SIGKILL, as a crash would, and waits until it is gone. */
  kill9(): Promise<void>;
}

const START_TIMEOUT_MS = 15_000;
const STOP_TIMEOUT_MS = 3_000;

/**
 * Starts a private `valkey-server` without persistence and answers once it accepts connections. It ends with the
 * process that started it, however that process ends.
 *
 * @param args further server options; they win over the defaults. `--port N` brings a server back where it was;
 *   without it a free port is found. With `--dir D` the directory is the caller's and stays.
 */
export async function startValkey(args: readonly string[] = []): Promise<ValkeyServer> {
  const program = findValkeyServer();
  if (program === undefined) throw new Error(VALKEY_ADVICE);
  const wantedPort = optionOf(args, '--port');
  for (let attempt = 1; ; attempt++) {
    const port = wantedPort === undefined ? randomPort() : Number(wantedPort);
    try {
      return await startOn(program, port, args);
    } catch (error) {
      const taken = error instanceof Error && /address already in use/i.test(error.message);
      if (!taken || wantedPort !== undefined || attempt === 50) throw error;
    }
  }
}

/**
 * The server itself claims the port, so nothing can slip in between finding and using it. The range lies below the
 * ephemeral ports, so no outgoing connection takes it while the server is down, and leaves room for a cluster bus.
 */
function randomPort(): number {
  return 10_000 + Math.floor(Math.random() * 20_000);
}

async function startOn(program: string, port: number, args: readonly string[]): Promise<ValkeyServer> {
  const ownDirectory = optionOf(args, '--dir') === undefined ? mkdtempSync(join(tmpdir(), 'agentup-valkey-')) : '';
  const defaults = ['--save', '', '--appendonly', 'no', '--bind', '127.0.0.1', '--daemonize', 'no'];
  const place = ['--port', String(port), ...(ownDirectory === '' ? [] : ['--dir', ownDirectory])];
  const server = spawn(program, [...defaults, ...place, ...args], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const watchdog = spawnWatchdog(server.pid, ownDirectory);
  const ended = once(server, 'exit').catch(() => undefined);
  void ended.then(() => watchdog.stdin?.write('ended\n'));

  const stop = async (): Promise<void> => {
    for (const child of [server, watchdog]) child.ref();
    const late = setTimeout(() => server.kill('SIGKILL'), STOP_TIMEOUT_MS);
    server.kill('SIGTERM');
    server.kill('SIGCONT');
    await ended;
    clearTimeout(late);
    const watchdogEnded =
      watchdog.exitCode === null && watchdog.signalCode === null ? once(watchdog, 'exit') : undefined;
    watchdog.stdin?.end();
    await watchdogEnded;
  };

  try {
    await ready(server);
  } catch (error) {
    await stop();
    throw error;
  }
  release(server);
  release(watchdog);
  return {
    url: `valkey://127.0.0.1:${port}`,
    port,
    pid: server.pid as number,
    stop,
    kill9: async () => {
      server.ref();
      server.kill('SIGKILL');
      await ended;
    },
  };
}

/**
 * A shell that waits for the end of its input, which comes when we close it or when this process is gone, and then
 * ends the server, unless a line said that it has ended already, and removes the directory.
 */
function spawnWatchdog(pid: number | undefined, directory: string): ChildProcess {
  const script = `
    trap '' INT TERM HUP
    pid=$1
    while read -r line; do pid=; done
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
    [ -z "$2" ] || rm -rf "$2"`;
  const watchdog = spawn('/bin/sh', ['-c', script, 'watchdog', String(pid ?? ''), directory], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  watchdog.stdin?.on('error', () => {});
  return watchdog;
}

/** Resolves when the server says that it is ready; rejects with its own words when it ends or takes too long. */
function ready(server: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = '';
    const fail = (what: string) => reject(new Error(`valkey-server ${what}:\n${output.slice(-4000)}`));
    const late = setTimeout(() => fail(`was not ready after ${START_TIMEOUT_MS} ms`), START_TIMEOUT_MS);
    for (const stream of [server.stdout, server.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        if (output.length < 100_000) output += chunk;
        if (!/ready to accept connections/i.test(output)) return;
        clearTimeout(late);
        resolve();
      });
    }
    server.once('error', (error) => fail(`could not be started (${error.message})`));
    server.once('close', (code, signal) => {
      clearTimeout(late);
      fail(`ended with ${signal ?? `code ${code}`}`);
    });
  });
}

/** Lets this process end while the child runs; its output is still read, or a full pipe would stop it. */
function release(child: ChildProcess): void {
  child.unref();
  for (const stream of child.stdio) {
    if (stream && 'unref' in stream && typeof stream.unref === 'function') stream.unref();
  }
}

function optionOf(args: readonly string[], name: string): string | undefined {
  const at = args.lastIndexOf(name);
  return at === -1 ? undefined : args[at + 1];
}
