import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { StorageOptions } from '../../src/storage/open-storage.js';
import { valkeyUrl } from '../support/index.js';
import { runWorker, startWorker } from '../support/workers.js';

const WORKER = join(import.meta.dirname, 'processes.worker.ts');
const directory = mkdtempSync(join(tmpdir(), 'agentup-lifecycle-'));
let places = 0;

describe.each(['file', 'valkey'] as const)('the lifecycle across processes, on %s', (backend) => {
  const place = (): StorageOptions =>
    backend === 'file'
      ? { backend, storageDir: join(directory, `${++places}`) }
      : { backend, url: valkeyUrl(), keyPrefix: `lifecycle-${process.pid}-${++places}:` };
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('begins once where three processes get the first messages, and ends once where three look', async () => {
    const options = place();
    const talk = await Promise.all([0, 1, 2].map(() => runWorker(WORKER, { options, count: 5, stay: 0 })));
    expect(talk.flat()).toEqual(['started']);
    const looks = [0, 1, 2].map(() => runWorker(WORKER, { options, count: 0, watchMs: 2_500, stay: 100 }));
    expect((await Promise.all(looks)).flat()).toEqual(['ending 15', 'ended']);
  });

  it('goes on with another process where one is killed in the hook', async () => {
    const options = place();
    await runWorker(WORKER, { options, count: 3, stay: 0 });
    const killed = startWorker(WORKER, { options, count: 0, watchMs: 60_000, stay: 60_000 });
    expect((await killed.lines.next()).value).toBe('ending 3');
    killed.process.kill('SIGKILL');
    await killed.ended;
    expect(await runWorker(WORKER, { options, count: 0, watchMs: 3_000, stay: 0 })).toEqual(['ending 3', 'ended']);
  });
});
