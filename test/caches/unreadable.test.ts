import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { createCaches } from '../../src/caches/index.js';
import { AgentUpError } from '../../src/errors.js';
import { EncryptedStorage } from '../../src/storage/encryption/index.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { StateStorage } from '../../src/storage/state-storage.js';
import { TestClock } from '../support/test-clock.js';

const clock = new TestClock();
const open = (storage: StateStorage) => createCaches({ storage, tenantId: 't', userId: 'u', clock });
const key = () => randomBytes(32).toString('base64');
const MINUTES = 120_000;

it('an action is not dropped by a worker without its key, nor kept from the one that has it', async () => {
  const storage = new MemoryStorage({ clock });
  const { expiry } = open(new EncryptedStorage(storage, { key: key() }));
  await expiry.set('a', 'x', { ttl: 1 });
  clock.advance(MINUTES);
  for (const blind of [open(storage).expiry, open(new EncryptedStorage(storage, { key: key() })).expiry]) {
    for (let i = 0; i < 2; i++) {
      await expect(blind.runDue('a', () => {})).rejects.toMatchObject({ code: 'KEY_MISSING' });
    }
    await expect(blind.getTtl('a', 'x')).rejects.toMatchObject({ code: 'KEY_MISSING' });
    await expect(blind.delete('a', 'x')).rejects.toMatchObject({ code: 'KEY_MISSING' });
  }
  const seen: string[] = [];
  expect(await expiry.runDue('a', ({ identifier }) => void seen.push(identifier))).toBe(1);
  expect(seen).toEqual(['x']);
});

it('an action that cannot be read keeps no other waiting', async () => {
  const storage = new MemoryStorage({ clock });
  const { expiry } = open(new EncryptedStorage(storage, { key: key() }));
  for (const identifier of ['x', 'y']) {
    await expiry.set('a', identifier, { ttl: 1 });
    clock.advance(10);
  }
  const damaged = { space: 'cache-actions', scope: ['t', 'a'], id: 'x' };
  await storage.commit(damaged, [{ op: 'set', field: 'data', value: '"slipped in"' }]);
  clock.advance(MINUTES);
  const seen: string[] = [];
  const run = () => expiry.runDue('a', ({ identifier }) => void seen.push(identifier));
  await expect(run()).rejects.toMatchObject({ code: 'VALUE_NOT_ENCRYPTED' });
  expect(seen).toEqual(['y']);
  await expiry.set('a', 'x', { ttl: 1 });
  clock.advance(MINUTES);
  await run();
  expect(seen).toEqual(['y', 'x']);
});

it('a storage that is down is asked once, not for each action', async () => {
  const storage = new MemoryStorage({ clock });
  const { expiry } = open(storage);
  for (const identifier of ['x', 'y']) await expiry.set('a', identifier, { ttl: 1 });
  clock.advance(MINUTES);
  let asked = 0;
  storage.begin = async () => {
    asked++;
    throw new AgentUpError('STORAGE_UNAVAILABLE', 'down');
  };
  await expect(expiry.runDue('a', () => {})).rejects.toThrow('down');
  expect(asked).toBe(1);
});
