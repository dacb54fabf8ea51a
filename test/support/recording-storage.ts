import { ForwardingStorage } from '../../src/storage/forwarding-storage.js';
import type { RecordKey } from '../../src/storage/keys.js';
import type {
  BeginOptions,
  Begun,
  Change,
  CommitOptions,
  Committed,
  ListQuery,
  LogOptions,
  LogPage,
  ReadOptions,
  RecordInfo,
  Refused,
  StateRecord,
  SweepQuery,
} from '../../src/storage/state-storage.js';

/** A storage that writes down which calls reach it. */
export class RecordingStorage extends ForwardingStorage {
  readonly calls: { name: string; args: readonly unknown[] }[] = [];

  override begin(key: RecordKey, options: BeginOptions): Promise<Begun> {
    this.#note('begin', key, options);
    return this.inner.begin(key, options);
  }

  override read(key: RecordKey, options?: ReadOptions): Promise<StateRecord | undefined> {
    this.#note('read', key, options);
    return this.inner.read(key, options);
  }

  override readLog(key: RecordKey, options?: LogOptions): Promise<LogPage> {
    this.#note('readLog', key, options);
    return this.inner.readLog(key, options);
  }

  override commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions): Promise<Committed | Refused> {
    this.#note('commit', key, changes, options);
    return this.inner.commit(key, changes, options);
  }

  override delete(key: RecordKey): Promise<boolean> {
    this.#note('delete', key);
    return this.inner.delete(key);
  }

  override list(query: ListQuery): AsyncIterable<RecordInfo> {
    this.#note('list', query);
    return this.inner.list(query);
  }

  override sweep(query: SweepQuery): Promise<number> {
    this.#note('sweep', query);
    return this.inner.sweep(query);
  }

  override spaces(): Promise<string[]> {
    this.#note('spaces');
    return this.inner.spaces();
  }

  override ping(): Promise<void> {
    this.#note('ping');
    return this.inner.ping();
  }

  #note(name: string, ...args: unknown[]): void {
    this.calls.push({ name, args });
  }
}
