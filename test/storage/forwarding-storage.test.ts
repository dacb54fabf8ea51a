import { expect, it } from 'vitest';
import { ForwardingStorage } from '../../src/storage/forwarding-storage.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { RecordingStorage } from '../support/recording-storage.js';

const KEY = { space: 'conversation', scope: [], id: 'ada' };

it('hands every call on with all it was given, and gives back what came of it', async () => {
  const memory = new MemoryStorage({ ttl: 60 });
  const recording = new RecordingStorage(memory);
  const storage = new ForwardingStorage(recording);
  expect(storage).toMatchObject({ backend: 'memory', ttl: 60 });

  const begin = { token: 't', leaseMs: 1_000, log: 5 };
  expect(await storage.begin(KEY, begin)).toEqual({ busy: false, record: undefined });
  const changes = [{ op: 'set', field: 'v', value: '1' } as const];
  const commit = { lease: { token: 't' } };
  expect(await storage.commit(KEY, changes, commit)).toMatchObject({ committed: true, version: 1 });
  expect((await storage.read(KEY, { fields: ['v'] }))?.fields).toEqual(new Map([['v', '1']]));
  expect(await storage.readLog(KEY, { limit: 3 })).toMatchObject({ total: 0 });
  const listed = [];
  for await (const { key } of storage.list({ space: 'conversation' })) listed.push(key);
  expect(listed).toEqual([KEY]);
  expect(await storage.spaces()).toEqual(['conversation']);
  expect(await storage.sweep({ space: 'conversation', updatedBefore: 0 })).toBe(0);
  expect(await storage.delete(KEY)).toBe(true);
  await storage.ping();
  expect(recording.calls).toEqual([
    { name: 'begin', args: [KEY, begin] },
    { name: 'commit', args: [KEY, changes, commit] },
    { name: 'read', args: [KEY, { fields: ['v'] }] },
    { name: 'readLog', args: [KEY, { limit: 3 }] },
    { name: 'list', args: [{ space: 'conversation' }] },
    { name: 'spaces', args: [] },
    { name: 'sweep', args: [{ space: 'conversation', updatedBefore: 0 }] },
    { name: 'delete', args: [KEY] },
    { name: 'ping', args: [] },
  ]);

  await storage.close();
  await expect(memory.ping()).rejects.toThrow(expect.objectContaining({ code: 'STORAGE_CLOSED' }));
});
