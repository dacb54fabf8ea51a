import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { FileStorage } from '../../../src/storage/file/file-storage.js';
import {
  anew,
  answer,
  atStep,
  besideAnother,
  CASES,
  check,
  Doing,
  directory,
  exists,
  key,
  otherDoes,
  standWhileOther,
} from './beside.js';
import { withoutReleasing } from './between.js';

besideAnother();

describe('who writes alone', () => {
  for (const { name, prepare, call, rest } of CASES) {
    for (const act of ['commit', 'turn'] as const) {
      it(`${name}, and another process comes for a ${act} between any two steps`, async () => {
        for (let at = 0; ; at++) {
          anew();
          const here = new Doing();
          await prepare?.(here);
          const step = await atStep(
            at,
            () => standWhileOther(act),
            () => call(here),
          );
          await rest?.(here);
          if (step !== undefined) expect(await answer(), `step ${at}: ${step}`).toBe('done');
          await here.commit();
          await here.storage.close();
          await otherDoes('close');
          if (step === undefined) break;
          await check(`step ${at}: ${step}`, here.commits + 1, here.turns + (act === 'turn' ? 1 : 0));
        }
      });
    }
  }
});

it('a turn is begun by one of two, whoever comes between any two steps of the other', async () => {
  for (let at = 0; ; at++) {
    anew();
    const here = new Doing();
    await here.commit();
    // From some moments later on no lease is vouched for.
    await expect
      .poll(() => fs.readFileSync(join(directory, '.processes/.sole'), 'utf8'))
      .toContain('"until":"000000000');
    let begun = false;
    const step = await atStep(
      at,
      () => standWhileOther('begin'),
      async () => {
        begun = await here.tryBegin();
      },
    );
    if (begun) await here.finish();
    if (step !== undefined) {
      expect(await answer(), `step ${at}: ${step}`).toBe('done');
      await otherDoes('finish');
    }
    if (!begun) await here.begin().then(() => here.finish());
    await here.storage.close();
    await otherDoes('close');
    if (step === undefined) break;
    await check(`step ${at}: ${step}`, here.commits + 1, 2);
  }
});

describe('who comes beside one who writes alone', () => {
  for (const first of ['ping', 'begin'] as const) {
    for (const mine of ['commit', 'turn'] as const) {
      const act = first === 'begin' ? 'finish' : 'commit';
      it(`for a ${mine}, while that one does a ${act} between any two steps`, async () => {
        // Who waits for a lease looks again and again: from some step on there is nothing new.
        for (let at = 0; at < 48; at++) {
          anew();
          await otherDoes(first);
          const here = new Doing();
          const step = await atStep(
            at,
            () => standWhileOther(act),
            async () => {
              if (mine === 'commit') return here.commit();
              await here.begin();
              await here.finish();
            },
          );
          if (step !== undefined) expect(await answer(), `step ${at}: ${step}`).toBe('done');
          await here.storage.close();
          await otherDoes('close');
          if (step === undefined) break;
          await check(`step ${at}: ${step}`, here.commits + 1, (mine === 'turn' ? 1 : 0) + (first === 'begin' ? 1 : 0));
        }
      });
    }
  }
});

const processFiles = () => fs.readdirSync(join(directory, '.processes'));
const ownerFile = () => join(directory, '.processes', processFiles().find((name) => !name.includes('.')) ?? '');
const isAlone = () => processFiles().includes('.sole');

describe('the files of a process', () => {
  it('say who it is from the first moment on', async () => {
    for (let at = 0, more = true; more; at++) {
      anew();
      const storage = new FileStorage({ storageDir: directory });
      const look = (): void => {
        if (exists(join(directory, '.processes')) && ownerFile() !== join(directory, '.processes')) {
          expect(fs.statSync(ownerFile()).size, `step ${at}`).toBeGreaterThan(0);
        }
      };
      more = (await atStep(at, look, () => storage.ping())) !== undefined;
      await storage.close();
    }
  });

  it('are kept new while it writes alone, for those who cannot see whether it lives', async () => {
    const storage = new FileStorage({ storageDir: directory });
    const { now } = Date;
    try {
      await storage.begin(key, { token: 't', leaseMs: 3 * 3_600_000 });
      const then = fs.statSync(ownerFile()).ctimeMs;
      for (const minutes of [20, 40, 60]) {
        Date.now = () => now() + minutes * 60_000;
        await storage.commit({ ...key, id: 'another' }, [{ op: 'touch' }]);
      }
      expect(fs.statSync(ownerFile()).ctimeMs).toBeGreaterThan(then);
    } finally {
      Date.now = now;
    }
    expect(isAlone()).toBe(true);
    await storage.commit(key, [{ op: 'touch' }], { lease: { token: 't' } });
    await storage.close();
  });

  it('are made anew where somebody has removed them, before anything is done beside the next one', async () => {
    const storage = new FileStorage({ storageDir: directory });
    await storage.commit(key, [{ op: 'increment', field: 'n', by: 1 }]);
    fs.rmSync(join(directory, '.processes'), { recursive: true });
    await otherDoes('begin');
    expect(await storage.begin(key, { token: 't', leaseMs: 60_000 })).toMatchObject({ busy: true });
    await otherDoes('finish');
    await storage.close();
    await otherDoes('close');
    expect(processFiles()).toEqual([]);
  });

  it('do not keep what one has left who died while it broke the mark of a dead one', async () => {
    const storage = new FileStorage({ storageDir: directory });
    await storage.ping();
    const dead = { ...JSON.parse(fs.readFileSync(ownerFile(), 'utf8')), nonce: 'dead', start: '1' };
    fs.writeFileSync(join(directory, '.processes/.sole.dead-0123456789abcdef'), JSON.stringify(dead));
    await otherDoes('commit');
    await storage.close();
    await otherDoes('close');
    expect(processFiles()).toEqual([]);
  });

  it('hold no place for a lease that ended while somebody waited for it', async () => {
    await otherDoes('begin');
    const storage = new FileStorage({ storageDir: directory });
    const lease = join(directory, 'contexts/c.jsonl.lease');
    await expect
      .poll(async () => {
        expect(await storage.begin(key, { token: 't', leaseMs: 60_000 })).toMatchObject({ busy: true });
        return exists(lease) && fs.readFileSync(lease, 'utf8').includes('"next":"t"');
      })
      .toBe(true);
    await otherDoes('finish');
    await storage.close();
    await otherDoes('close');
    expect(processFiles()).toEqual([]);
  });
});

describe('leases that had no files', () => {
  it('get some for each, of which only some are kept open', async () => {
    const storage = new FileStorage({ storageDir: directory });
    const ids = Array.from({ length: 600 }, (_, n) => ({ ...key, id: `r${n}` }));
    for (const id of ids) await storage.begin(id, { token: 't', leaseMs: 60_000 });
    expect(isAlone()).toBe(true);
    await otherDoes('commit');
    await expect.poll(isAlone).toBe(false);
    expect(processFiles().filter((name) => name.includes('.lease')).length).toBeLessThanOrEqual(256);
    for (const id of ids) await storage.commit(id, [{ op: 'touch' }], { lease: { token: 't' } });
    await storage.close();
    await otherDoes('close');
    expect(processFiles()).toEqual([]);
  });

  it('outlast a long silence in which nobody has asked', async () => {
    const { now } = performance;
    let late = 0;
    performance.now = () => now.call(performance) + late;
    try {
      // What knows the time of the machine is loaded anew, to have it from here.
      vi.resetModules();
      const fresh = await import('../../../src/storage/file/file-storage.js');
      const one = new fresh.FileStorage({ storageDir: directory });
      await one.begin(key, { token: 't', leaseMs: 60_000 });
      expect(isAlone()).toBe(true);
      late = 8_000;
      const next = new fresh.FileStorage({ storageDir: directory });
      expect(await next.begin(key, { token: 'next', leaseMs: 60_000 })).toMatchObject({ busy: true });
      await one.commit(key, [{ op: 'touch' }], { lease: { token: 't' } });
      await one.close();
      await next.close();
    } finally {
      performance.now = now;
    }
  });
});

it('a lease that has ended and that nobody asks for is vouched for no longer', async () => {
  const storage = new FileStorage({ storageDir: directory });
  await storage.begin(key, { token: 't', leaseMs: 50 });
  const until = () => /"until":"(\d+)"/.exec(fs.readFileSync(join(directory, '.processes/.sole'), 'utf8'))?.[1];
  expect(Number(until())).toBeGreaterThan(0);
  await expect.poll(() => Number(until()), { timeout: 3_000 }).toBe(0);
  await storage.close();
});

it('a lock that could not be released is released by its process when that writes alone', async () => {
  const storage = new FileStorage({ storageDir: directory });
  await otherDoes('ping');
  await storage.commit(key, [{ op: 'touch' }]);
  await expect.poll(isAlone).toBe(false);
  await storage.commit(key, [{ op: 'touch' }]);
  await withoutReleasing(async () => {
    await storage.commit(key, [{ op: 'touch' }]);
  });
  await otherDoes('close');
  expect(exists(join(directory, 'contexts/c.jsonl.lock'))).toBe(true);
  const { now } = performance;
  performance.now = () => now.call(performance) + 60_000;
  await storage.commit(key, [{ op: 'touch' }]).finally(() => {
    performance.now = now;
  });
  expect(isAlone()).toBe(true);
  await otherDoes('commit');
  await storage.close();
  await otherDoes('close');
});

it('nobody writes alone on a file system that another machine may write to', async () => {
  const { statfsSync } = fs;
  for (const [type, alone] of [
    [0x65735546, false],
    [0xef53, true],
  ] as const) {
    anew();
    Object.assign(fs, { statfsSync: () => ({ type }) });
    syncBuiltinESMExports();
    const storage = new FileStorage({ storageDir: directory });
    try {
      await storage.commit(key, [{ op: 'touch' }]);
    } finally {
      Object.assign(fs, { statfsSync });
      syncBuiltinESMExports();
    }
    expect(isAlone()).toBe(alone);
    await storage.close();
  }
});
