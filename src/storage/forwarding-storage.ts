import { checkStorage } from './check-storage.js';
import type { RecordKey } from './keys.js';
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
  StateStorage,
  SweepQuery,
} from './state-storage.js';

/**
 * A storage that hands every call on to another one: what a layer above a backend overrides some methods of. One that
 * changes tokens changes those of `Carried.replies` too, or says that it does not carry them; what it does to the
 * record of a `begin` it also does to that in the `begun` of a commit.
 */
export class ForwardingStorage implements StateStorage {
  readonly backend: string;
  readonly ttl: number | undefined;
  readonly carriesReplies: boolean | undefined;
  protected readonly inner: StateStorage;

  constructor(inner: StateStorage) {
    checkStorage(inner, new.target.name || 'ForwardingStorage');
    this.inner = inner;
    this.backend = inner.backend;
    this.ttl = inner.ttl;
    this.carriesReplies = inner.carriesReplies;
  }

  begin(key: RecordKey, options: BeginOptions): Promise<Begun> {
    return this.inner.begin(key, options);
  }

  read(key: RecordKey, options?: ReadOptions): Promise<StateRecord | undefined> {
    return this.inner.read(key, options);
  }

  readLog(key: RecordKey, options?: LogOptions): Promise<LogPage> {
    return this.inner.readLog(key, options);
  }

  commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions): Promise<Committed | Refused> {
    return this.inner.commit(key, changes, options);
  }

  delete(key: RecordKey): Promise<boolean> {
    return this.inner.delete(key);
  }

  async scrub(key: RecordKey): Promise<void> {
    await this.inner.scrub?.(key);
  }

  list(query: ListQuery): AsyncIterable<RecordInfo> {
    return this.inner.list(query);
  }

  sweep(query: SweepQuery): Promise<number> {
    return this.inner.sweep(query);
  }

  spaces(): Promise<string[]> {
    return this.inner.spaces();
  }

  ping(): Promise<void> {
    return this.inner.ping();
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
