import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { compiledWorker } from '../../support/compiled-workers.js';
import { freshPrefix, keyOf, Storages, valkeyUrl } from './support.js';

const storages = new Storages();
afterAll(() => storages.close());

const WORKER = compiledWorker('test/storage/valkey/processes.worker.ts');
const CRASH_ROUNDS = Number(process.env['AGENTUP_CRASH_ROUNDS'] ?? 25);
const key = keyOf('shared');

function start(job: string, prefix: string, rounds = 0): ChildProcess {
  const args = [WORKER, job, valkeyUrl(), prefix, String(rounds)];
  return spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
}

async function finished(child: ChildProcess): Promise<void> {
  const [code] = child.exitCode === null ? await once(child, 'exit') : [child.exitCode];
  expect(code).toBe(0);
}

function shared() {
  const prefix = freshPrefix();
  return { prefix, storage: storages.make({ url: valkeyUrl(), keyPrefix: prefix }) };
}

/** The next line a worker says. */
async function line(child: ChildProcess): Promise<string> {
  const [said] = (await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')) as [string];
  return said;
}

describe('several processes', () => {
  it('add to one record and lose nothing', async () => {
    const { prefix, storage } = shared();
    await Promise.all(Array.from({ length: 4 }, () => finished(start('add', prefix, 200))));
    const record = await storage.read(key, { log: 1_000 });
    expect(record?.fields.get('n')).toBe('800');
    const list = JSON.parse(record?.fields.get('list') ?? '[]') as string[];
    expect(new Set(list).size).toBe(800);
    expect(new Set(record?.log).size).toBe(800);
    expect(record).toMatchObject({ version: 2_400, logTotal: 800 });
  });

  it('take turns on one record, one at a time', async () => {
    const { prefix, storage } = shared();
    await Promise.all(Array.from({ length: 4 }, () => finished(start('turns', prefix, 50))));
    expect((await storage.read(key))?.fields.get('n')).toBe('200');
  });
});

describe('a process that dies', () => {
  it(
    'leaves whole commits, and all it was told are done',
    async () => {
      const lanes = [shared(), shared()];
      const each = Math.ceil(CRASH_ROUNDS / lanes.length);
      await Promise.all(
        lanes.map(async (lane) => {
          let { prefix, storage } = lane;
          for (let round = 0; round < each; round++) {
            // A record that grew through hundreds of rounds would have the rest of them spent on comparing it.
            if (round % 20 === 19) ({ prefix, storage } = shared());
            const child = start('crash', prefix);
            let last = '0';
            createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (said) => {
              if (last === '0') setTimeout(() => child.kill('SIGKILL'), Math.random() * 60);
              last = said;
            });
            await once(child, 'close');
            const record = await storage.read(key, { log: 1_000_000 });
            const n = Number(record?.fields.get('n'));
            expect(n).toBeGreaterThanOrEqual(Number(last));
            expect(record).toMatchObject({ version: n, logTotal: n });
            expect(record?.log).toEqual(Array.from({ length: n }, (_, i) => String(i + 1)));
            expect(record?.fields.get('list')).toBe(`[${record?.log.join(',')}]`);
            expect(record?.fields.get('text')).toBe(JSON.stringify(`${n} `.repeat(50)));
          }
        }),
      );
    },
    20_000 + CRASH_ROUNDS * 4_000,
  );

  it('in a turn gives the conversation free when its lease ends, and leaves no trace', async () => {
    const { prefix, storage } = shared();
    const child = start('hold', prefix, 400);
    expect(await line(child)).toBe('held');
    child.kill('SIGKILL');
    expect(await storage.begin(key, { token: 'next', leaseMs: 1_000 })).toMatchObject({ busy: true });
    await expect
      .poll(() => storage.begin(key, { token: 'next', leaseMs: 1_000 }), { interval: 20, timeout: 2_000 })
      .toEqual({ busy: false, record: undefined });
  });

  it('only seemingly, and comes back after its lease, cannot commit', async () => {
    const { prefix, storage } = shared();
    const child = start('hold', prefix, 200);
    expect(await line(child)).toBe('held');
    child.kill('SIGSTOP');
    await delay(250);
    for (const token of ['a', 'b', 'c', 'd', 'e', 'f']) {
      await storage.begin(key, { token, leaseMs: 1_000 });
      await storage.commit(key, [{ op: 'increment', field: 'n', by: 1 }], { lease: { token }, commitId: token });
    }
    child.stdin?.write('commit\n');
    const said = line(child);
    child.kill('SIGCONT');
    expect(await said).toBe('LEASE_LOST');
    await finished(child);
    expect([...((await storage.read(key))?.fields ?? [])]).toEqual([['n', '6']]);
  });
});

describe('a process that is done', () => {
  it('ends by itself, also when it did not close the storage', async () => {
    const { prefix } = shared();
    const child = start('leave', prefix);
    expect(await line(child)).toBe('done');
    const since = performance.now();
    await finished(child);
    expect(performance.now() - since).toBeLessThan(1_000);
  });
});
