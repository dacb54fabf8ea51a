import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FileStorage } from '../../../src/storage/file/file-storage.js';

const key = { space: 'contexts', scope: [], id: 'ada' };
let directory: string;
let storage: FileStorage;
/** How often the event loop has turned. */
let turns = 0;
let counting = true;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'agentup-loop-'));
  storage = new FileStorage({ storageDir: directory, durability: 'never' });
  await storage.commit(key, [{ op: 'set', field: 'x', value: '1' }]);
  counting = true;
  turns = 0;
  const turned = (): void => {
    turns++;
    if (counting) setImmediate(turned);
  };
  setImmediate(turned);
});
afterEach(async () => {
  counting = false;
  await storage.close();
  await rm(directory, { recursive: true });
});

it('turns while somebody calls without a pause', async () => {
  for (let i = 0; i < 1_000; i++) await storage.read(key);
  expect(turns).toBeGreaterThan(4);
});

it('is not waited for by a call that comes with a turn of its own', async () => {
  for (let i = 0; i < 300; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    const before = turns;
    await storage.read(key);
    expect(turns).toBe(before);
  }
});
