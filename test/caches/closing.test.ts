import { setImmediate } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { createCaches } from '../../src/caches/index.js';
import { AgentUpError } from '../../src/errors.js';
import { ForwardingStorage } from '../../src/storage/forwarding-storage.js';
import type { RecordKey } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { ListQuery, ReadOptions } from '../../src/storage/state-storage.js';

const closed = () => new AgentUpError('STORAGE_CLOSED', 'it is closed');

/** Is closed once it has listed the first record, and while the next is waited for. */
class ClosingStorage extends ForwardingStorage {
  isClosed = false;

  override async *list(query: ListQuery) {
    for await (const info of super.list(query)) {
      this.isClosed = true;
      yield info;
      for (let i = 0; i < 3; i++) await setImmediate();
      throw closed();
    }
  }

  override async delete(key: RecordKey) {
    if (this.isClosed) throw closed();
    return super.delete(key);
  }

  override async read(key: RecordKey, options?: ReadOptions) {
    if (this.isClosed) throw closed();
    return super.read(key, options);
  }
}

it('a storage that is closed while a table is tidied or deleted ends no process', async () => {
  const unhandled: unknown[] = [];
  const hear = (error: unknown) => void unhandled.push(error);
  process.on('unhandledRejection', hear);
  onTestFinished(() => void process.off('unhandledRejection', hear));
  const storage = new ClosingStorage(new MemoryStorage());
  const warned: unknown[] = [];
  const logger = { debug() {}, info() {}, warn: (error: unknown) => void warned.push(error), error() {} };
  const { tableCache } = createCaches({ storage, tenantId: 't', logger: logger as never });
  const versioned = tableCache.table('versioned', undefined, { versioned: true });
  const indexed = tableCache.table('indexed', undefined, { indexes: ['f'] });
  for (const table of [versioned, indexed]) for (const key of ['a', 'b']) await table.set(key, { f: 1 });
  await versioned.bumpVersion();
  for (let i = 0; i < 9; i++) await setImmediate();
  storage.isClosed = false;
  await expect(indexed.deleteAll()).rejects.toMatchObject({ code: 'STORAGE_CLOSED' });
  for (let i = 0; i < 9; i++) await setImmediate();
  expect(warned).toMatchObject([{ code: 'STORAGE_CLOSED' }]);
  expect(unhandled).toEqual([]);
});
