import { once } from 'node:events';
import fs from 'node:fs';
import {
  chmod,
  chown,
  open as fsOpen,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker as Thread } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FileStorage } from '../../../src/storage/file/file-storage.js';
import { compiledWorker } from '../../support/compiled-workers.js';
import { startWorker, type Worker } from '../../support/workers.js';

const WORKER = join(import.meta.dirname, 'holding.worker.ts');
const WRITER = join(import.meta.dirname, 'writer.worker.ts');
const key = (id: string) => ({ space: 'contexts', scope: [], id });

let directory: string;
let storages: FileStorage[] = [];
let workers: Worker[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'agentup-beside-'));
});
afterEach(async () => {
  for (const worker of workers) worker.process.kill('SIGKILL');
  await Promise.all(workers.map(({ ended }) => ended));
  await Promise.all(storages.map((storage) => storage.close()));
  [storages, workers] = [[], []];
  await rm(directory, { recursive: true, force: true });
});

function open(): FileStorage {
  const storage = new FileStorage({ storageDir: directory });
  storages.push(storage);
  return storage;
}

/** A process with turns open. */
async function start(args: object = {}, limits?: string): Promise<Worker> {
  const worker = startWorker(WORKER, { directory, ...args }, {}, limits);
  workers.push(worker);
  expect((await worker.lines.next()).value).toBe('begun');
  return worker;
}

/** Begins a turn, however long that takes. */
async function turn(storage: FileStorage, id: string, token = 'me'): Promise<void> {
  for (;;) {
    const begun = await storage.begin(key(id), { token, leaseMs: 60_000 });
    if (!begun.busy) return;
    await new Promise((resolve) => setTimeout(resolve, Math.min(begun.retryAfterMs, 20)));
  }
}

/** Has a call of the system fail, once, with what `fails` answers. */
async function failing<Name extends 'readFileSync' | 'readdirSync' | 'linkSync'>(
  name: Name,
  fails: (path: string, ...rest: unknown[]) => string | undefined,
  call: () => Promise<unknown>,
): Promise<void> {
  const real = fs[name] as (...args: unknown[]) => unknown;
  let failed = false;
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      const code = failed ? undefined : fails(String(args[0]), ...args.slice(1));
      if (code === undefined) return real(...args);
      failed = true;
      throw Object.assign(new Error(`${code}: ${name}`), { code });
    },
  });
  syncBuiltinESMExports();
  try {
    await call();
  } finally {
    Object.assign(fs, { [name]: real });
    syncBuiltinESMExports();
  }
  expect(failed).toBe(true);
}

describe('who comes to a process that writes alone', () => {
  it('waits for it also where the first look for it has failed', async () => {
    await start();
    const storage = open();
    await failing(
      'readFileSync',
      (path) => (path.endsWith('/.sole') ? 'EMFILE' : undefined),
      () => storage.begin(key('t0'), { token: 'me', leaseMs: 60_000 }).catch(() => undefined),
    );
    expect(await storage.begin(key('t0'), { token: 'me', leaseMs: 60_000 })).toMatchObject({ busy: true });
  });
});

describe('who would write alone', () => {
  it('does not where it could not be looked for others', async () => {
    const third = open();
    await third.ping();
    // Has its lease in a file.
    await start();
    await third.close();
    const storage = open();
    let looks = 0;
    await failing(
      'readdirSync',
      (path) => (path.endsWith('/.processes') && ++looks === 1 ? 'EMFILE' : undefined),
      () => storage.begin(key('t0'), { token: 'me', leaseMs: 60_000 }).catch(() => undefined),
    );
    expect(await storage.begin(key('t0'), { token: 'me', leaseMs: 60_000 })).toMatchObject({ busy: true });
  });
});

describe('a process that writes alone', () => {
  it('keeps its turns where somebody comes whom it can hardly open files for', { timeout: 20_000 }, async () => {
    const worker = await start({ turns: 150 }, 'ulimit -n 100');
    const storage = open();
    await storage.commit(key('c'), [{ op: 'touch' }]);
    await turn(storage, 'c');
    expect(await storage.begin(key('t149'), { token: 'me', leaseMs: 60_000 })).toMatchObject({ busy: true });
    worker.process.kill('SIGUSR2');
    expect((await worker.lines.next()).value).toBe('committed');
  });

  it('keeps its turns where a storage of its own process comes after it has computed for long', async () => {
    const storage = open();
    await turn(storage, 'c');
    // Longer than others would have waited.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5_100);
    await open().ping();
    await storage.commit(key('c'), [{ op: 'touch' }], { lease: { token: 'me' } });
  });

  it('vouches for its leases some seconds ahead at any time', async () => {
    const storage = open();
    await turn(storage, 'c');
    for (let looks = 0; looks < 30; looks++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      const { until } = JSON.parse(await readFile(join(directory, '.processes/.sole'), 'utf8'));
      expect(Number(until) - Number(process.hrtime.bigint()) / 1e6).toBeGreaterThan(3_900);
    }
  });

  it('goes on where its file cannot be written anew for want of a lock', async () => {
    const storage = open();
    const big = (n: number) => [{ op: 'set' as const, field: 'big', value: JSON.stringify(`${n}`.repeat(200_000)) }];
    await storage.commit(key('c'), big(1));
    await failing(
      'linkSync',
      (_from, path) => (String(path).endsWith('.lock') ? 'EACCES' : undefined),
      async () => {
        for (const n of [2, 3, 4]) expect(await storage.commit(key('c'), big(n))).toMatchObject({ version: n });
      },
    );
    expect(await storage.commit(key('c'), [{ op: 'touch' }])).toMatchObject({ version: 5 });
  });
});

describe('what a process of another container has left that wrote alone', () => {
  const [host, boot, namespace] = ['other', 'other', 'other'];
  const owner = { nonce: 'other', host, boot, namespace, pid: process.pid, start: '1' };
  const processes = (name: string) => join(directory, '.processes', name);
  /** @param age for how many seconds it has done nothing */
  const leave = async ({ busy = 0, until = 0, age = 0 }) => {
    await mkdir(processes(''));
    const state = `{"busy":"${busy}","until":"${String(until).padStart(14, '0')}",${JSON.stringify(owner).slice(1)}\n`;
    await writeFile(processes('other.sole'), state);
    await writeFile(processes('other'), JSON.stringify(owner));
    await link(processes('other.sole'), processes('.sole'));
    await utimes(processes('.sole'), Date.now() / 1000 - age, Date.now() / 1000 - age);
  };

  it('keeps nobody where it had no leases', async () => {
    await leave({});
    const began = performance.now();
    const storage = open();
    await storage.commit(key('c'), [{ op: 'touch' }]);
    await turn(storage, 'c');
    expect(performance.now() - began).toBeLessThan(1_000);
  });

  it('keeps nobody where it died while it wrote, ten seconds later, however many have come meanwhile', async () => {
    await leave({ busy: 1, age: 9 });
    const began = performance.now();
    const first = open().commit(key('c'), [{ op: 'touch' }]);
    await new Promise((resolve) => setTimeout(resolve, 500));
    await open().commit(key('c'), [{ op: 'touch' }]);
    await first;
    expect(performance.now() - began).toBeLessThan(4_000);
  });

  it('goes when it has been there for an hour, also where others have asked meanwhile', async () => {
    await leave({ age: 3_601 });
    await rm(processes('other'));
    await link(processes('.sole'), processes('other.asked-1'));
    const storage = open();
    await storage.commit(key('c'), [{ op: 'touch' }]);
    expect(await readFile(processes('.sole'), 'utf8')).not.toContain('"other"');
    expect((await readdir(processes(''))).filter((name) => name.startsWith('other'))).toEqual([]);
  });
});

it('those who have asked and gone leave no more than one name behind', async () => {
  // One that does nothing hears of nobody.
  (await start()).process.kill('SIGSTOP');
  for (let round = 0; round < 4; round++) {
    const storage = new FileStorage({ storageDir: directory });
    await storage.begin(key('t0'), { token: 'me', leaseMs: 60_000 });
    await storage.close();
    const names = await readdir(join(directory, '.processes'));
    expect(names.filter((name) => name.includes('.asked-')).length).toBeLessThan(2);
  }
});

it.runIf(process.geteuid?.() === 0)('others of the group of the directory may ask', async () => {
  await chown(directory, 0, 4_321);
  await mkdir(join(directory, '.processes'), { mode: 0o770 });
  await chown(join(directory, '.processes'), 0, 4_321);
  await chmod(join(directory, '.processes'), 0o770);
  await open().ping();
  expect(await stat(join(directory, '.processes/.sole'))).toMatchObject({ gid: 4_321, mode: 0o100_660 });
});

it('what a thread has left that was ended while it wrote keeps nobody, though its process goes on', async () => {
  const args = { directory, name: 'thread', count: 1e9, id: 'c' };
  const thread = new Thread(compiledWorker(WRITER), { argv: [JSON.stringify(args)], stdout: true });
  await once(thread.stdout, 'data');
  await thread.terminate();
  const state = await fsOpen(join(directory, '.processes/.sole'), 'r+');
  await state.write('1', '{"busy":"'.length);
  await state.close();
  const began = performance.now();
  await open().commit(key('c'), [{ op: 'touch' }]);
  expect(performance.now() - began).toBeLessThan(1_000);
});

it('a turn whose process is known to nobody any more is lost: others may have begun it anew', async () => {
  const third = open();
  await third.ping();
  // Has its lease in a file.
  const worker = await start();
  await rm(join(directory, '.processes'), { recursive: true });
  await third.commit(key('c'), [{ op: 'touch' }]);
  await turn(third, 't0');
  await third.commit(key('t0'), [{ op: 'set', field: 'n', value: '7' }], { lease: { token: 'me' } });
  worker.process.kill('SIGUSR2');
  expect((await worker.lines.next()).value).toBe('LEASE_LOST');
  expect((await third.read(key('t0')))?.fields.get('n')).toBe('7');
});

it('who has left no lease leaves no file, also where others had waited for it', async () => {
  const third = open();
  await third.ping();
  const storage = open();
  // One that is there already is renewed under the lock.
  for (let round = 0; round < 2; round++) await storage.begin(key('c'), { token: 'me', leaseMs: 60_000 });
  expect(await third.begin(key('c'), { token: 'other', leaseMs: 60_000 })).toMatchObject({ busy: true });
  await storage.commit(key('c'), [{ op: 'touch' }], { lease: { token: 'me' } });
  await storage.close();
  await third.close();
  expect(await readdir(join(directory, '.processes'))).toEqual([]);
});

it('who cleans up beside one that has turns open leaves out none but theirs', async () => {
  const storage = open();
  for (const id of ['a', 'b', 't0']) await storage.commit(key(id), [{ op: 'touch' }]);
  await storage.close();
  await start();
  expect(await open().sweep({ space: 'contexts', updatedBefore: Date.now() + 60_000 })).toBe(2);
  expect(await open().read(key('t0'))).toBeDefined();
});

it('a test that stands its clock still holds nobody up', async () => {
  vi.useFakeTimers();
  try {
    const storage = open();
    await storage.begin(key('c'), { token: 'me', leaseMs: 60_000 });
    const began = process.hrtime.bigint();
    await start();
    expect(Number(process.hrtime.bigint() - began) / 1e6).toBeLessThan(2_000);
    expect(await storage.commit(key('c'), [{ op: 'touch' }], { lease: { token: 'me' } })).toMatchObject({ version: 1 });
  } finally {
    vi.useRealTimers();
  }
});

it('who comes to one that stands still with turns open commits at once, and has its turn when those have ended', async () => {
  const worker = await start();
  worker.process.kill('SIGSTOP');
  const storage = open();
  const began = performance.now();
  await storage.commit(key('c'), [{ op: 'touch' }]);
  expect(performance.now() - began).toBeLessThan(1_000);
  await turn(storage, 't0');
  expect(performance.now() - began).toBeLessThan(6_000);
  worker.process.kill('SIGCONT');
  worker.process.kill('SIGUSR2');
  expect((await worker.lines.next()).value).toBe('LEASE_LOST');
  await storage.commit(key('t0'), [{ op: 'set', field: 'n', value: '7' }], { lease: { token: 'me' } });
  expect((await storage.read(key('t0')))?.fields.get('n')).toBe('7');
});
