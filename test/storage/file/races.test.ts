import fs, { appendFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileStorage } from '../../../src/storage/file/file-storage.js';
import { TestClock } from '../../support/test-clock.js';
import { between, withoutReleasing } from './between.js';

const key = { space: 'contexts', scope: [], id: 'ada' };
let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'agentup-files-'));
  file = join(directory, 'contexts/ada.jsonl');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const meddling = async (...args: Parameters<typeof between>): Promise<boolean> =>
  (await between(...args)) !== undefined;

describe('a reader without the lock', () => {
  it('sees at its next look what another process appended between any two steps of this one', async () => {
    for (let at = 0, more = true; more; at++) {
      rmSync(directory, { recursive: true });
      const writer = new FileStorage({ storageDir: directory });
      await writer.commit(key, [{ op: 'set', field: 'n', value: '1' }]);
      const reader = new FileStorage({ storageDir: directory });
      const line = `[{"at":"2026-01-02T00:00:00.000Z","v":2},{"set":{"n":2}}]\n`;
      more = await meddling(
        at,
        () => appendFileSync(file, line),
        () => reader.read(key),
      );
      if (more) expect((await reader.read(key))?.fields.get('n'), `step ${at}`).toBe('2');
    }
  });

  it('finds the record or none when another process removes it between any two steps', async () => {
    for (let at = 0, more = true; more; at++) {
      const writer = new FileStorage({ storageDir: directory });
      await writer.commit(
        key,
        Array.from({ length: 200 }, () => ({ op: 'log' as const, entry: '"x"' })),
      );
      const reader = new FileStorage({ storageDir: directory });
      more = await meddling(
        at,
        () => rmSync(file, { force: true }),
        async () => {
          const record = await reader.read(key, { log: 200 });
          expect(record?.log.length ?? 200, `step ${at}`).toBe(200);
        },
      );
    }
  });
});

describe('a record removed and made again by another process', () => {
  it('is never taken for the one before, also where inode, size and time are the same', async () => {
    const clock = new TestClock();
    for (let round = 0; round < 30; round++) {
      const id = { ...key, id: `r${round}` };
      const one = new FileStorage({ storageDir: directory, clock });
      const other = new FileStorage({ storageDir: directory, clock });
      await one.commit(id, [{ op: 'set', field: 'x', value: '1' }]);
      await other.delete(id);
      await other.commit(id, [{ op: 'set', field: 'x', value: '2' }]);
      expect((await one.read(id))?.fields.get('x')).toBe('2');
      await Promise.all([one.close(), other.close()]);
    }
  });
});

it('a record that is being cleaned up stays, or is begun by nobody', async () => {
  for (let at = 0, more = true; more; at++) {
    const [storage, other] = [0, 1].map(() => new FileStorage({ storageDir: directory })) as [FileStorage, FileStorage];
    await other.ping();
    await storage.commit(key, [{ op: 'touch' }]);
    let begin: ReturnType<FileStorage['begin']> | undefined;
    more = await meddling(
      at,
      () => {
        begin = other.begin(key, { token: 't', leaseMs: 60_000 });
      },
      () => storage.sweep({ space: 'contexts', updatedBefore: Date.now() + 60_000 }),
      { steps: ['statSync', 'readFileSync', 'linkSync', 'unlinkSync'] },
    );
    const begun = await begin;
    if (begun) {
      expect(begun.busy, `step ${at}`).toBe(false);
      const there = (await storage.read(key)) !== undefined;
      expect(there, `step ${at}`).toBe(!begun.busy && begun.record !== undefined);
      await other.commit(key, [], { lease: { token: 't' } });
    }
    await storage.close();
    await other.close();
  }
});

it('a compaction whose process stood still and lost its lock takes the place of nothing, and leaves the lock', async () => {
  const writer = new FileStorage({ storageDir: directory });
  const line = `[{"at":"2026-01-02T00:00:00.000Z","v":4},{"set":{"late":1}}]\n`;
  const { openSync, writeSync } = fs;
  const now = performance.now;
  const begun = new Set<number>();
  let stood = false;
  Object.assign(fs, {
    openSync: (...args: Parameters<typeof openSync>) => {
      const opened = openSync(...args);
      if (String(args[0]).endsWith('.jsonl.tmp')) begun.add(opened);
      return opened;
    },
    writeSync: (...args: Parameters<typeof writeSync>) => {
      const written = writeSync(...args);
      // The last line of the new file: all that follows is to bring it to the disk, and into the place of the old one.
      if (!stood && begun.has(args[0]) && String(args[1]).includes('"base":true')) {
        stood = true;
        performance.now = () => now.call(performance) + 20_000;
        rmSync(`${file}.lock`);
        fs.writeFileSync(`${file}.lock`, 'of another');
        appendFileSync(file, line);
      }
      return written;
    },
  });
  syncBuiltinESMExports();
  try {
    for (const n of [1, 2, 3]) {
      await writer.commit(key, [{ op: 'set', field: 'big', value: JSON.stringify(String(n).repeat(200_000)) }]);
    }
    await expect.poll(() => stood).toBe(true);
    await writer.close();
  } finally {
    Object.assign(fs, { openSync, writeSync });
    syncBuiltinESMExports();
    performance.now = now;
  }
  expect((await new FileStorage({ storageDir: directory }).read(key))?.fields.get('late')).toBe('1');
  expect(fs.readFileSync(`${file}.lock`, 'utf8')).toBe('of another');
});

it('a commit that fails after its line was written has written nothing, also for who has read that line', async () => {
  const storage = new FileStorage({ storageDir: directory });
  const reader = new FileStorage({ storageDir: directory });
  let seen: ReturnType<FileStorage['read']> | undefined;
  await storage.commit(key, [{ op: 'set', field: 'n', value: '1' }]);
  const { futimesSync } = fs;
  fs.futimesSync = () => {
    seen ??= reader.read(key);
    throw Object.assign(new Error('EIO: i/o error, futime'), { code: 'EIO' });
  };
  syncBuiltinESMExports();
  try {
    const failed = storage.commit(key, [{ op: 'set', field: 'n', value: '2' }], { commitId: 'c-1' });
    await expect(failed).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  } finally {
    fs.futimesSync = futimesSync;
    syncBuiltinESMExports();
  }
  expect((await seen)?.fields.get('n')).toBe('2');
  for (const from of [storage, new FileStorage({ storageDir: directory })]) {
    expect((await from.read(key))?.fields.get('n')).toBe('1');
  }
  // In the place of that line stands one as long, and one behind it.
  await storage.commit(key, [{ op: 'set', field: 'n', value: '3' }], { commitId: 'c-1' });
  await storage.commit(key, [{ op: 'set', field: 'm', value: '1' }]);
  for (const from of [storage, reader]) {
    expect((await from.read(key))?.fields).toEqual(
      new Map([
        ['n', '3'],
        ['m', '1'],
      ]),
    );
    await from.close();
  }
});

it('a lock that could not be released is taken again by its own process', async () => {
  const [storage, other] = [0, 1].map(() => new FileStorage({ storageDir: directory })) as [FileStorage, FileStorage];
  await other.ping();
  await storage.commit(key, [{ op: 'touch' }]);
  await withoutReleasing(async () => {
    expect(await storage.commit(key, [{ op: 'touch' }])).toMatchObject({ version: 2 });
  });
  expect(fs.existsSync(`${file}.lock`)).toBe(true);
  expect(await storage.commit(key, [{ op: 'touch' }])).toMatchObject({ version: 3 });
  expect(fs.existsSync(`${file}.lock`)).toBe(false);
  await storage.close();
  await other.close();
});

it('a lock that was found dead is not broken where somebody alive has taken it meanwhile', async () => {
  for (let at = 0, more = true; more; at++) {
    rmSync(directory, { recursive: true });
    const [storage, other] = [0, 1].map(() => new FileStorage({ storageDir: directory })) as [FileStorage, FileStorage];
    for (const each of [storage, other]) await each.commit(key, [{ op: 'touch' }]);
    const lock = `${file}.lock`;
    const owners = fs.readdirSync(join(directory, '.processes')).map((name) => join(directory, '.processes', name));
    const alive = owners.find((path) => !path.slice(directory.length + 2).includes('.')) ?? '';
    // Nobody has this pid.
    const dead = { ...JSON.parse(fs.readFileSync(alive, 'utf8')), nonce: 'dead', pid: 2 ** 30 };
    fs.writeFileSync(lock, `${JSON.stringify(dead)}\n`);
    let kept: Promise<boolean> | undefined;
    more = await meddling(
      at,
      () => {
        if (!fs.existsSync(lock) || !fs.readFileSync(lock, 'utf8').includes('"dead"')) return;
        rmSync(lock);
        fs.linkSync(alive, lock);
        // Long enough for who takes the lock to be dead to have done what it wants.
        kept = delay(20).then(() => {
          const stays = fs.existsSync(lock);
          rmSync(lock, { force: true });
          return stays;
        });
      },
      () => storage.commit(key, [{ op: 'touch' }]),
    );
    if (kept) expect(await kept, `step ${at}`).toBe(true);
    await storage.close();
    await other.close();
  }
});
