import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConversationContext } from '../../src/index.js';
import { FileStorage } from '../../src/storage/file/file-storage.js';
import { cleanEnv, runHere } from './run-cli.js';

let cwd: string;
const KEY = randomBytes(32).toString('base64');
const OTHER = randomBytes(32).toString('base64');
const config = (encryption: string): Promise<void> =>
  writeFile(join(cwd, 'agent_config.yaml'), `state:\n  backend: file\n  storage_dir: ./kept\n${encryption}\n`);
const state = (...args: string[]) =>
  runHere(['state', ...args], { cwd, env: cleanEnv({ STATE_KEY: KEY, OTHER_KEY: OTHER }) });

beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'cli-reencrypt-'));
  const storage = new FileStorage({ storageDir: join(cwd, 'kept') });
  const context = new ConversationContext(storage);
  await context.setVariable('ada', 'tea', 'green');
  await context.addToHistory('ada', 'user', 'I like tea');
  await context.setVariable('bob', 'tea', 'black');
  await storage.close();
});
afterEach(() => rm(cwd, { recursive: true, force: true }));

describe('agentup state reencrypt', () => {
  it('encrypts a store in clear, rotates its key, and says how much there was', async () => {
    await config('  encryption: { key: "${STATE_KEY}" }');
    const refused = await state('show', 'ada');
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('agentup state reencrypt');
    expect((await state('reencrypt', '--dry-run')).stdout).toBe('would encrypt 3 values in 2 of 2 records\n');
    expect((await state('reencrypt')).stdout).toBe('encrypted 3 values in 2 of 2 records\n');
    expect((await state('show', 'ada')).stdout).toContain('green');
    expect((await state('reencrypt')).stdout).toBe('2 records, all encrypted with the present key\n');

    await config('  encryption: { key: "${OTHER_KEY}" }');
    const wrong = await state('show', 'ada');
    expect([wrong.status, wrong.stdout]).toEqual([1, '']);
    expect(wrong.stderr).toContain('state.encryption.previous');
    await config('  encryption: { key: "${OTHER_KEY}", previous: ["${STATE_KEY}"] }');
    expect(JSON.parse((await state('reencrypt', '--json')).stdout)).toMatchObject({
      records: 2,
      rewritten: 2,
      values: 3,
    });
    await config('  encryption: { key: "${OTHER_KEY}" }');
    expect((await state('show', 'ada')).stdout).toContain('I like tea');

    await config('');
    const clear = await state('show', 'ada');
    expect(clear.status).toBe(1);
    expect(clear.stderr).toContain('state.encryption.key');
    for (const { stdout, stderr } of [refused, wrong, clear]) expect(stdout + stderr).not.toContain('enc1.');
  });

  it('does not end with 0 where a file could not be read, and stays as it is', async () => {
    await config('  encryption: { key: "${STATE_KEY}" }');
    const damaged = join(cwd, 'kept/contexts/ada.jsonl');
    await writeFile(damaged, 'nothing of this can be read\n');
    const { status, stdout, stderr } = await state('reencrypt');
    expect([status, stdout]).toEqual([1, expect.stringContaining('of 1 record')]);
    expect(stderr).toContain(`1 record could not be read and encrypted: ${damaged}`);
  });

  it('needs a key', async () => {
    await config('');
    const { status, stderr } = await state('reencrypt');
    expect(status).toBe(1);
    expect(stderr).toContain('state.encryption is not set');
  });
});
