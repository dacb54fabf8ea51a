import { createContext, runInContext } from 'node:vm';
import { afterAll, describe, it } from 'vitest';
import type { RecordKey } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type {
  BeginOptions,
  Begun,
  LogOptions,
  LogPage,
  ReadOptions,
  StateRecord,
} from '../../src/storage/state-storage.js';
import { storageConformance } from '../../src/testing/index.js';
import { TestClock } from '../support/test-clock.js';

const realm = createContext({});

/** A list as a native driver makes it under jest, where tests run in a realm of their own. */
function foreign(list: readonly string[]): string[] {
  return runInContext(JSON.stringify(list), realm) as string[];
}

class ForeignStorage extends MemoryStorage {
  override async begin(key: RecordKey, options: BeginOptions): Promise<Begun> {
    const begun = await super.begin(key, options);
    return begun.busy || !begun.record
      ? begun
      : { ...begun, record: { ...begun.record, log: foreign(begun.record.log) } };
  }

  override async read(key: RecordKey, options?: ReadOptions): Promise<StateRecord | undefined> {
    const record = await super.read(key, options);
    return record && { ...record, log: foreign(record.log) };
  }

  override async readLog(key: RecordKey, options?: LogOptions): Promise<LogPage> {
    const page = await super.readLog(key, options);
    return { ...page, entries: foreign(page.entries) };
  }
}

const clock = new TestClock();
const open = async () => new ForeignStorage({ clock });
const advance = async (ms: number) => clock.advance(ms);
storageConformance({ name: 'a storage whose lists are of another realm', open, advance }, { describe, it, afterAll });
