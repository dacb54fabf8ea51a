import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, it } from 'vitest';
import type { StorageOptions } from '../../src/storage/open-storage.js';
import { compiledWorker } from '../support/compiled-workers.js';
import { valkeyUrl } from '../support/index.js';

const run = promisify(execFile);
const storageDir = mkdtempSync(join(tmpdir(), 'agentup-processes-'));
afterAll(() => rmSync(storageDir, { recursive: true }));

describe('a process that used a storage and closed it ends by itself (P16)', () => {
  const backends: Record<string, () => StorageOptions> = {
    memory: () => ({ backend: 'memory' }),
    file: () => ({ backend: 'file', storageDir }),
    valkey: () => ({ backend: 'valkey', url: valkeyUrl(), keyPrefix: `exits:${randomBytes(6).toString('hex')}:` }),
  };
  for (const [name, options] of Object.entries(backends)) {
    it(name, async () => {
      const args = [compiledWorker('test/storage/use-and-close.worker.ts'), JSON.stringify(options())];
      const { stdout, stderr } = await run(process.execPath, args, { timeout: 15_000 });
      assert.deepEqual({ stdout, stderr }, { stdout: 'closed', stderr: '' });
    });
  }
});

describe('the conformance suite', () => {
  it('runs on node:test too', async () => {
    const args = ['--test-reporter=tap', compiledWorker('test/storage/conformance-on-node-test.worker.ts')];
    const { stdout } = await run(process.execPath, args, { timeout: 19_000, maxBuffer: 10_000_000 });
    const counted = (what: string) => Number(new RegExp(`^# ${what} (\\d+)$`, 'm').exec(stdout)?.[1]);
    assert.ok(counted('tests') > 200, `${counted('tests')} tests have run`);
    assert.equal(counted('pass'), counted('tests'));
  });
});
