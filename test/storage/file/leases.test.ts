import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs, { readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileStorage } from '../../../src/storage/file/file-storage.js';
import { compiledWorker } from '../../support/compiled-workers.js';
import { runWorker, startWorker } from '../../support/workers.js';

const TURNS = join(import.meta.dirname, 'turns.worker.ts');
const WRITER = join(import.meta.dirname, 'writer.worker.ts');
const key = { space: 'contexts', scope: [], id: 'c' };

let directory: string;
let storage: FileStorage;
let neighbour: FileStorage | undefined;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'agentup-leases-'));
  storage = new FileStorage({ storageDir: directory });
});
afterEach(async () => {
  await storage.close();
  await neighbour?.close();
  neighbour = undefined;
  await rm(directory, { recursive: true, force: true });
});

const counter = async () => (await storage.read(key))?.fields.get('n');
/** Has the storage write beside another one, with locks and leases that are files. */
const notAlone = async (): Promise<void> => {
  neighbour = new FileStorage({ storageDir: directory });
  await neighbour.ping();
};
const leftovers = async () =>
  (await readdir(join(directory, 'contexts'))).filter((name) => name !== 'c.jsonl' && name !== '.by-owner');

describe('turns of several processes', () => {
  it('never overlap: 4 × 25 that read, wait and write back', async () => {
    const args = { directory, turns: 25, id: 'c', leaseMs: 30_000 };
    const printed = await Promise.all(Array.from({ length: 4 }, () => runWorker(TURNS, args)));
    expect(printed.flat().filter((line) => line === 'committed')).toHaveLength(100);
    expect(await counter()).toBe('100');
    expect(await leftovers()).toEqual([]);
  });

  it('go on at once when the holder is killed, without what it did', async () => {
    await notAlone();
    const worker = startWorker(TURNS, { directory, turns: 1, id: 'c', leaseMs: 60_000, hold: 60_000 });
    expect((await worker.lines.next()).value).toBe('begun');
    const options = { token: 'me', leaseMs: 60_000 };
    expect(await storage.begin(key, options)).toMatchObject({ busy: true });
    // A reader of the lease is told who has it, until when, and by which process.
    const lease = JSON.parse(await readFile(join(directory, 'contexts/c.jsonl.lease'), 'utf8'));
    expect(lease).toMatchObject({ next: 'me', owner: { pid: worker.process.pid } });
    worker.process.kill('SIGKILL');
    await worker.ended;
    expect(await storage.begin(key, options)).toEqual({ busy: false, record: undefined });
    await storage.commit(key, [], { lease: { token: 'me' } });
    expect(await leftovers()).toEqual([]);
    expect(await readdir(join(directory, '.processes'))).not.toEqual([]);
    const next = new FileStorage({ storageDir: directory });
    await next.commit(key, [{ op: 'touch' }]);
    await next.close();
    // The files of the dead are gone with the next one who writes; ours are there.
    for (const name of await readdir(join(directory, '.processes'))) {
      const text = await readFile(join(directory, '.processes', name), 'utf8');
      expect(text).toContain(`"pid":${process.pid}`);
    }
  });

  it('who stood still past the end of his lease has lost it', async () => {
    const worker = startWorker(TURNS, { directory, turns: 1, id: 'c', leaseMs: 400, hold: 50 });
    expect((await worker.lines.next()).value).toBe('begun');
    worker.process.kill('SIGSTOP');
    let begun = await storage.begin(key, { token: 'me', leaseMs: 60_000 });
    while (begun.busy) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      begun = await storage.begin(key, { token: 'me', leaseMs: 60_000 });
    }
    worker.process.kill('SIGCONT');
    expect((await worker.lines.next()).value).toBe('LEASE_LOST');
    expect(await worker.ended).toBe(0);
    await storage.commit(key, [{ op: 'set', field: 'n', value: '7' }], { lease: { token: 'me' } });
    expect(await counter()).toBe('7');
  });

  it('a lease of another machine holds until its end, and no longer', async () => {
    await notAlone();
    await storage.commit(key, [{ op: 'touch' }]);
    const owner = { nonce: 'other', host: 'other', boot: 'other', namespace: 'other', pid: process.pid, start: '1' };
    const path = join(directory, 'contexts/c.jsonl.lease');
    await writeFile(path, JSON.stringify({ token: 'other', until: Date.now() + 60_000, owner }));
    expect(await storage.begin(key, { token: 'me', leaseMs: 1_000 })).toMatchObject({ busy: true });
    await writeFile(path, JSON.stringify({ token: 'other', until: Date.now() - 1, owner }));
    expect(await storage.begin(key, { token: 'me', leaseMs: 1_000 })).toMatchObject({ busy: false });
  });

  it('tokens of any length and any characters are told apart', async () => {
    await notAlone();
    const tokens = ['"', '\n', 'x'.repeat(1_000), `${'x'.repeat(999)}y`, 'é', '🙂'.repeat(100)];
    for (const token of tokens) {
      expect(await storage.begin(key, { token, leaseMs: 60_000 })).toMatchObject({ busy: false });
      for (const other of tokens) {
        const busy = other !== token;
        expect(await storage.begin(key, { token: other, leaseMs: 60_000 })).toMatchObject({ busy });
      }
      await storage.delete({ ...key, id: 'none' });
      await storage.commit(key, [], { lease: { token } });
      // The places of those who were refused lapse.
      await rm(join(directory, 'contexts/c.jsonl.lease'), { force: true });
    }
  });

  it('leases held at once have a file each, and use it again', async () => {
    await notAlone();
    const ids = Array.from({ length: 20 }, (_, index) => `r${index}`);
    for (let round = 0; round < 3; round++) {
      for (const id of ids) await storage.begin({ ...key, id }, { token: `${id}-${round}`, leaseMs: 60_000 });
      for (const id of ids) {
        await storage.commit({ ...key, id }, [{ op: 'touch' }], { lease: { token: `${id}-${round}` } });
      }
    }
    const names = await readdir(join(directory, '.processes'));
    expect(names.filter((name) => name.includes('.lease'))).toHaveLength(ids.length);
    await storage.close();
    await neighbour?.close();
    expect(await readdir(join(directory, '.processes'))).toEqual([]);
  });
});

describe('a process', () => {
  it('that was killed but not fetched by its parent is dead', async () => {
    await notAlone();
    // Such a parent is process 1 in many a container.
    const script = '"$0" "$1" "$2" & exec sleep 60';
    const args = JSON.stringify({ directory, turns: 1, id: 'c', leaseMs: 60_000, hold: 60_000 });
    const parent = spawn('sh', ['-c', script, process.execPath, compiledWorker(TURNS), args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(parent.stdout, 'data');
      const lease = JSON.parse(await readFile(join(directory, 'contexts/c.jsonl.lease'), 'utf8'));
      await writeFile(join(directory, 'contexts/c.jsonl.lock'), JSON.stringify(lease.owner));
      process.kill(lease.owner.pid, 'SIGKILL');
      await expect.poll(() => readFileSync(`/proc/${lease.owner.pid}/stat`, 'utf8')).toContain(') Z ');
      expect(await storage.begin(key, { token: 'me', leaseMs: 1_000 })).toMatchObject({ busy: false });
      expect(await storage.commit(key, [{ op: 'touch' }], { lease: { token: 'me' } })).toMatchObject({ version: 1 });
    } finally {
      parent.kill('SIGKILL');
    }
  });

  it('of which the system tells nothing but that it is there is alive', async () => {
    const worker = startWorker(TURNS, { directory, turns: 1, id: 'c', leaseMs: 60_000, hold: 60_000 });
    expect((await worker.lines.next()).value).toBe('begun');
    const { readFileSync: real } = fs;
    Object.assign(fs, {
      // As where /proc hides the processes of other users, or no descriptor is left to look.
      readFileSync: (path: string, ...rest: unknown[]) => {
        if (String(path).startsWith('/proc/')) throw Object.assign(new Error('EMFILE'), { code: 'EMFILE' });
        return (real as (...args: unknown[]) => unknown)(path, ...rest);
      },
    });
    syncBuiltinESMExports();
    const { kill } = process;
    try {
      expect(await storage.begin(key, { token: 'me', leaseMs: 1_000 })).toMatchObject({ busy: true });
      // As where it is of another user.
      process.kill = () => {
        throw Object.assign(new Error('EPERM'), { code: 'EPERM' });
      };
      expect(await storage.begin(key, { token: 'me', leaseMs: 1_000 })).toMatchObject({ busy: true });
    } finally {
      process.kill = kill;
      Object.assign(fs, { readFileSync: real });
      syncBuiltinESMExports();
    }
    worker.process.kill('SIGKILL');
    await worker.ended;
    expect(await storage.begin(key, { token: 'me', leaseMs: 1_000 })).toMatchObject({ busy: false });
  });
});

describe('the lock of a dead process', () => {
  it('is broken once, by whoever comes first: three who find it lose nothing', async () => {
    const dead = startWorker(WRITER, { directory, name: 'dead', count: 1, id: 'c' });
    const { pid } = dead.process;
    await dead.ended;
    const alive = JSON.parse(await ownerText());
    const gone = { ...alive, nonce: 'gone', pid, start: '1' };
    await writeFile(join(directory, 'contexts/c.jsonl.lock'), `${JSON.stringify(gone)}\n`);
    const names = ['a', 'b', 'c'];
    await Promise.all(names.map((name) => runWorker(WRITER, { directory, name, count: 50, id: 'c' })));
    expect(await counter()).toBe('151');
    expect(await leftovers()).toEqual([]);
  });

  it('is broken also where the one who was breaking it has died', async () => {
    await notAlone();
    await storage.commit(key, [{ op: 'touch' }]);
    const gone = { ...JSON.parse(await ownerText()), nonce: 'gone', start: '1' };
    const lock = join(directory, 'contexts/c.jsonl.lock');
    const text = `${JSON.stringify(gone)}\n`;
    await writeFile(lock, text);
    const { createHash } = await import('node:crypto');
    const hash = createHash('sha256').update(`${lock}\n${text}`).digest('hex').slice(0, 16);
    await writeFile(`${lock}.dead-${hash}`, `${JSON.stringify({ ...gone, nonce: 'gone too' })}\n`);
    const began = performance.now();
    await storage.commit(key, [{ op: 'touch' }]);
    expect(performance.now() - began).toBeLessThan(1_000);
    expect(await leftovers()).toEqual([]);
  });

  it('a living holder is waited for, and named when it takes too long', { timeout: 20_000 }, async () => {
    await notAlone();
    await storage.commit(key, [{ op: 'touch' }]);
    const lock = join(directory, 'contexts/c.jsonl.lock');
    await writeFile(lock, `${JSON.stringify({ ...JSON.parse(await ownerText()), nonce: 'other' })}\n`);
    await expect(storage.commit(key, [{ op: 'touch' }])).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: expect.stringContaining(`process ${process.pid}`),
    });
    const waiting = storage.commit(key, [{ op: 'touch' }]);
    await rm(lock);
    expect(await waiting).toMatchObject({ version: 2 });
  });
});

/** How this machine writes down a process. */
async function ownerText(): Promise<string> {
  await storage.ping();
  const [name = ''] = (await readdir(join(directory, '.processes'))).filter((one) => !one.includes('.'));
  return readFile(join(directory, '.processes', name), 'utf8');
}

it('a lease that is given back because its record cannot be read is waited for by close()', async () => {
  await storage.commit(key, [{ op: 'touch' }]);
  const record = join(directory, 'contexts/c.jsonl');
  await writeFile(record, 'no line of ours\n');
  const processes = join(directory, '.processes');
  const owners = async () => (await readdir(processes)).filter((name) => !name.includes('.'));
  const [mine] = await owners();
  await notAlone();
  const next = (await owners()).find((name) => name !== mine) ?? '';
  fs.linkSync(join(processes, next), `${record}.lock`);
  const begun = storage.begin(key, { token: 't', leaseMs: 60_000 });
  const refused = expect(begun).rejects.toMatchObject({ code: 'RECORD_CORRUPT' });
  const closed = storage.close();
  await new Promise((resolve) => setTimeout(resolve, 20));
  fs.unlinkSync(`${record}.lock`);
  await closed;
  await refused;
  await neighbour?.close();
  expect(await readdir(processes)).toEqual([]);
});
