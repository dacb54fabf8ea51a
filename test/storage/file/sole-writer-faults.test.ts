import { readdirSync, readlinkSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../../src/logger.js';
import { FileStorage } from '../../../src/storage/file/file-storage.js';
import { anew, atStep, besideAnother, CASES, Doing, directory, key, otherDoes } from './beside.js';

besideAnother();

/** Fails a file operation as the system does; with `all`, the ones after it too. */
function failing(code: string): (first: boolean, step: string) => void {
  return (_first, step) => {
    // A file is closed, whatever that says.
    if (step !== 'closeSync') throw Object.assign(new Error(`${code}: made by a test`), { code });
  };
}

describe('an error of the system', () => {
  for (const [name, all, code] of [
    ['at one step', false, 'EIO'],
    ['at one step, of too many open files', false, 'EMFILE'],
    ['from one step on', true, 'EIO'],
  ] as const) {
    it(`${name} of entering: who enters still finds the turns of others`, async () => {
      for (const alone of [true, false]) {
        for (let at = 0; ; at++) {
          anew();
          const third = new FileStorage({ storageDir: directory });
          if (!alone) await third.ping();
          await otherDoes('begin');
          // The other one has files for its leases now, and there is no mark of anybody.
          await third.close();
          const here = new FileStorage({ storageDir: directory });
          const begin = () => here.begin(key, { token: 'here', leaseMs: 60_000 });
          const step = await atStep(at, failing(code), () => begin().catch(() => {}), all);
          const where = `${alone ? 'alone' : 'beside'}, step ${at}: ${step}`;
          expect((await begin()).busy, where).toBe(true);
          await otherDoes('finish');
          await here.commit(key, [{ op: 'increment', field: 'n', by: 1 }]);
          expect((await here.read(key))?.version, where).toBe(2);
          await here.close();
          await otherDoes('close');
          expect(await readdir(join(directory, '.processes')), where).toEqual([]);
          if (step === undefined) break;
        }
      }
    });

    for (const { name: doing, prepare, call, rest } of CASES) {
      if (doing === 'is the only one again' || doing === 'closes') continue;
      it(`${name} where one who writes alone ${doing}: it keeps nobody from working`, async () => {
        for (let at = 0; ; at++) {
          anew();
          const here = new Doing();
          await prepare?.(here);
          const step = await atStep(at, failing(code), () => call(here).catch(() => {}), all);
          const where = `step ${at}: ${step}`;
          // A lock that could not be released is in the way of others until its owner takes it again.
          if (all) await otherDoes('commit', 'another');
          else await otherDoes('commit');
          await here.commit();
          if (all) await otherDoes('commit');
          await rest?.(here).catch(() => {});
          await here.storage.close();
          await otherDoes('close');
          const there = await new FileStorage({ storageDir: directory }).read(key, { log: 1_000 });
          const { n } = Object.fromEntries(there?.fields ?? []);
          expect(there?.version, where).toBe(Number(n));
          expect(there?.log.length, where).toBe(Number(n));
          // One that could be neither finished nor taken back may be there, and counts or does not.
          const more = Number(n) - here.commits - 1;
          expect(all && more === 1 ? 0 : more, where).toBe(0);
          if (step === undefined) break;
        }
      });
    }
  }
});

describe('closing', () => {
  const openFiles = () =>
    readdirSync('/proc/self/fd').filter((file) => {
      try {
        return readlinkSync(`/proc/self/fd/${file}`).startsWith(directory);
      } catch {
        return false;
      }
    });
  // Whether another one has leases is known some moments later.
  const begun = (here: FileStorage) =>
    expect
      .poll(async () => (await here.begin(key, { token: 'here', leaseMs: 60_000 })).busy, { interval: 1 })
      .toBe(false);
  const listening = () => {
    const heard: unknown[] = [];
    return { heard, logger: { ...silentLogger, warn: (...args: unknown[]) => void heard.push(args) } };
  };

  for (const [name, all] of [
    ['one file operation fails', false],
    ['all file operations fail from one on', true],
  ] as const) {
    for (const alone of [true, false]) {
      it(`does not fail where ${name}, ${alone ? 'alone' : 'beside another'}, with a lease that is out`, async () => {
        for (let at = 0; ; at++) {
          anew();
          if (!alone) await otherDoes('ping');
          const { heard, logger } = listening();
          const here = new FileStorage({ storageDir: directory, logger });
          await begun(here);
          const step = await atStep(at, failing('EROFS'), () => here.close(), all);
          const where = `step ${at}: ${step}`;
          await expect.poll(openFiles, { message: where }).toEqual([]);
          if (all && at === 0) expect(heard, where).not.toEqual([]);
          await otherDoes('commit');
          await otherDoes('close');
          if (step === undefined) break;
        }
      });
    }
  }

  it('does not fail where the files of its process have been removed, and says so', async () => {
    await otherDoes('ping');
    const { heard, logger } = listening();
    const here = new FileStorage({ storageDir: directory, logger });
    await begun(here);
    await rm(join(directory, '.processes'), { recursive: true });
    await here.close();
    expect(heard).toHaveLength(1);
    expect(openFiles()).toEqual([]);
    await otherDoes('close');
  });
});
