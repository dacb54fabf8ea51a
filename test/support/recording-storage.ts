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
  StateStorage,
  SweepQuery,
} from '../../src/storage/state-storage.js';

/** A storage that writes down which calls reach it. */
export class RecordingStorage implements StateStorage {
  readonly calls: { name: string; args: readonly unknown[] }[] = [];
  readonly #inner: StateStorage;

  constructor(inner: StateStorage) {
    this.#inner = inner;
  }

  get backend(): string {
    return this.#inner.backend;
  }

  get ttl(): number | undefined {
    return this.#inner.ttl;
  }

  begin(key: RecordKey, options: BeginOptions): Promise<Begun> {
    this.#note('begin', key, options);
    return this.#inner.begin(key, options);
  }

  read(key: RecordKey, options?: ReadOptions): Promise<StateRecord | undefined> {
    this.#note('read', key, options);
    return this.#inner.read(key, options);
  }

  readLog(key: RecordKey, options?: LogOptions): Promise<LogPage> {
    this.#note('readLog', key, options);
    return this.#inner.readLog(key, options);
  }

  commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions): Promise<Committed | Refused> {
    this.#note('commit', key, changes, options);
    return this.#inner.commit(key, changes, options);
  }

  delete(key: RecordKey): Promise<boolean> {
    this.#note('delete', key);
    return this.#inner.delete(key);
  }

  list(query: ListQuery): AsyncIterable<RecordInfo> {
    this.#note('list', query);
    return this.#inner.list(query);
  }

  sweep(query: SweepQuery): Promise<number> {
    this.#note('sweep', query);
    return this.#inner.sweep(query);
  }

  spaces(): Promise<string[]> {
    this.#note('spaces');
    return this.#inner.spaces();
  }

  ping(): Promise<void> {
    this.#note('ping');
    return this.#inner.ping();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #note(name: string, ...args: unknown[]): void {
    this.calls.push({ name, args });
  }
}
