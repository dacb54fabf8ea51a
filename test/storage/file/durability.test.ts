import fs from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../../../src/logger.js';
import { DiskSync, type Durability } from '../../../src/storage/file/durability.js';
import { FileStorage } from '../../../src/storage/file/file-storage.js';

const key = { space: 'contexts', scope: [], id: 'c' };
const touch = [{ op: 'touch' }] as const;
const { fsync, fdatasync, fsyncSync } = fs;

let directory: string;
let storage: FileStorage;
/** Syncs that have begun: they end when the test says so. */
let begun: { name: string; end: (error: Error | null) => void }[];
let returned: string[];

const nameOf = (file: number) => basename(fs.readlinkSync(`/proc/self/fd/${file}`));
const open = (durability: Durability) => {
  storage = new FileStorage({ storageDir: directory, durability });
};
const commit = (name: string, options = {}) => {
  const done = storage.commit(key, touch, options);
  const note = () => void returned.push(name);
  done.then(note, note);
  return done;
};
const syncing = (...names: string[]) =>
  expect.poll(() => begun.map(({ name }) => name).sort(), { interval: 1 }).toEqual(names);
/** Ends the syncs of a file, and waits for what follows from that. */
const end = async (name: string, error: Error | null = null) => {
  const ending = begun.filter((one) => one.name === name);
  begun = begun.filter((one) => one.name !== name);
  for (const one of ending) one.end(error);
  await new Promise((resolve) => setImmediate(resolve));
};

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'agentup-durability-'));
  begun = [];
  returned = [];
  const held = (file: number, callback: (error: Error | null) => void) =>
    void begun.push({ name: nameOf(file), end: callback });
  Object.assign(fs, { fsync: held, fdatasync: held });
  syncBuiltinESMExports();
});
afterEach(async () => {
  vi.useRealTimers();
  Object.assign(fs, { fsync, fdatasync, fsyncSync });
  syncBuiltinESMExports();
  for (const one of begun.splice(0)) one.end(null);
  await storage?.close();
  await rm(directory, { recursive: true, force: true });
});

describe('durability: commit', () => {
  /** A commit to a file that is there, and its sync has begun. */
  const secondUnderWay = async () => {
    open('commit');
    const first = commit('first');
    await syncing('c.jsonl', 'contexts');
    for (const name of ['c.jsonl', 'contexts']) await end(name);
    await first;
    const done = commit('second');
    await syncing('c.jsonl');
    // In an object: a promise would be waited for.
    return { done };
  };
  /** Opens more files than may be open at once. */
  const putAway = async () => {
    for (let n = 0; n < 300; n++) await storage.read({ ...key, id: `other-${n}` });
  };

  it('a commit returns when its line is on the disk, and the name of a new file', async () => {
    open('commit');
    const first = commit('first');
    await syncing('c.jsonl', 'contexts');
    await end('c.jsonl');
    expect(returned).toEqual([]);
    await end('contexts');
    expect(await first).toMatchObject({ version: 1 });
    const second = commit('second');
    await syncing('c.jsonl');
    expect(returned).toEqual(['first']);
    await end('c.jsonl');
    expect(await second).toMatchObject({ version: 2 });
  });

  it('a sync that was under way says nothing of what was written meanwhile', async () => {
    open('commit');
    const first = commit('first', { commitId: 'c-1' });
    await syncing('c.jsonl', 'contexts');
    const later = [commit('second'), commit('third')];
    await expect.poll(async () => (await storage.read(key))?.version, { interval: 1 }).toBe(3);
    await end('contexts');
    await end('c.jsonl');
    await first;
    // One for both.
    await syncing('c.jsonl');
    expect(returned).toEqual(['first']);
    await end('c.jsonl');
    await Promise.all(later);
    expect(begun).toEqual([]);
  });

  it('a file that is put away while it is synced stays open until that is done, and no longer', async () => {
    const { done } = await secondUnderWay();
    const opened = () =>
      fs.readdirSync('/proc/self/fd').filter((file) => {
        try {
          return nameOf(Number(file)) === 'c.jsonl';
        } catch {
          return false;
        }
      });
    await putAway();
    expect(opened()).toHaveLength(1);
    await end('c.jsonl');
    await done;
    expect(opened()).toEqual([]);
  });

  it('a file that cannot be closed after its sync fails the commit, and not the process', async () => {
    const { done } = await secondUnderWay();
    await putAway();
    const { closeSync } = fs;
    fs.closeSync = (file) => {
      closeSync(file);
      throw Object.assign(new Error('EIO: i/o error, close'), { code: 'EIO' });
    };
    syncBuiltinESMExports();
    try {
      await end('c.jsonl');
    } finally {
      fs.closeSync = closeSync;
      syncBuiltinESMExports();
    }
    await expect(done).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  });

  it('a commit that could not be synced fails, and sent again it is, with the name of its file', async () => {
    open('commit');
    const failed = commit('failed', { commitId: 'c-1' });
    await syncing('c.jsonl', 'contexts');
    await end('c.jsonl');
    await end('contexts', Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' }));
    await expect(failed).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', details: { backend: 'file' } });
    const again = commit('again', { commitId: 'c-1' });
    await syncing('c.jsonl', 'contexts');
    await end('c.jsonl');
    await end('contexts');
    expect(await again).toMatchObject({ version: 1 });
  });
});

describe('durability: interval', () => {
  it('syncs what was written after a second, files and names, and waits for it in close()', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    open('interval');
    await commit('first');
    vi.advanceTimersByTime(999);
    expect(begun).toEqual([]);
    vi.advanceTimersByTime(1);
    vi.useRealTimers();
    await syncing('c.jsonl', 'contexts');
    const closing = storage.close().then(() => returned.push('closed'));
    await end('c.jsonl');
    expect(returned).toEqual(['first']);
    await end('contexts');
    await closing;
  });

  it('syncs what is left when it is closed', async () => {
    open('interval');
    await commit('first');
    const closing = storage.close();
    await syncing('c.jsonl', 'contexts');
    await end('c.jsonl');
    await end('contexts');
    await closing;
  });

  it('syncs what is left when the process ends', async () => {
    open('interval');
    await commit('first');
    const synced: string[] = [];
    fs.fsyncSync = (file) => void synced.push(nameOf(file));
    syncBuiltinESMExports();
    const sync = new DiskSync('interval', silentLogger);
    void sync.written(join(directory, 'contexts/c.jsonl'), true);
    // Deleted meanwhile: nothing is left that could be lost.
    void sync.written(join(directory, 'contexts/gone.jsonl'), false);
    sync.flushNow();
    sync.flushNow();
    expect(synced.sort()).toEqual(['c.jsonl', 'contexts']);
    const closing = storage.close();
    await syncing('c.jsonl', 'contexts');
    await end('c.jsonl');
    await end('contexts');
    await closing;
  });
});

it('durability: never syncs nothing', async () => {
  open('never');
  await commit('first');
  await storage.close();
  expect(begun).toEqual([]);
});
