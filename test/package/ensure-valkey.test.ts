import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { valkeyUrl } from '../support/index.js';

/** Empty: a PATH without programs, a cache without a fetched server. */
let nothing: string;

beforeEach(async () => {
  nothing = await mkdtemp(join(tmpdir(), 'agentup-nothing-'));
});

afterEach(() => rm(nothing, { recursive: true, force: true }));

async function npmTest(args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['scripts/test.mjs', ...args], {
    env: { PATH: nothing, XDG_CACHE_HOME: nothing, NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk) => (stderr += chunk));
  const [code] = (await once(child, 'close')) as [number];
  return { code, stderr, last: stdout.trimEnd().split('\n').at(-1) };
}

test('without a server and a way to get one, npm test fails and says what to install', async () => {
  const { code, stderr, last } = await npmTest([]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/no valkey-server.*Install one:[\s\S]*brew install valkey/);
  expect(last).toBe('0 passed, 1 failed');
});

test('with a server given by URL it runs, and says which tests need the program all the same', async () => {
  const { code, stderr, last } = await npmTest(['test/package/test-report.test.ts'], {
    AGENTUP_TEST_VALKEY_URL: valkeyUrl(),
  });
  expect(stderr).toContain('start a server of their own will fail');
  expect(last).toBe('3 passed, 0 failed');
  expect(code).toBe(0);
});

test('a server given by URL that does not answer is a failure', async () => {
  const { code, stderr, last } = await npmTest(['test/package/test-report.test.ts'], {
    AGENTUP_TEST_VALKEY_URL: 'valkey://127.0.0.1:1',
  });
  expect(stderr).toContain('AGENTUP_TEST_VALKEY_URL');
  expect(last).toBe('0 passed, 1 failed');
  expect(code).toBe(1);
});
