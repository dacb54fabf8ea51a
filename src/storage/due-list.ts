import { deleteUnchanged } from './delete-unchanged.js';
import type { RecordKey } from './keys.js';
import type { Change, RecordInfo, StateRecord, StateStorage } from './state-storage.js';

/** Digits of a moment in the name of an entry, so that names sort by time. */
const DIGITS = 15;
/** Entries looked at in one round. */
const ROUND = 1_000;

/** Something to be looked at at a moment. */
export interface DueEntry {
  readonly key: RecordKey;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly name: string;
  /** When it was made, or made once more, by the storage's clock. */
  readonly madeAt: number;
  /** What was noted with it, where that was asked for. */
  readonly record: StateRecord | undefined;
}

/**
 * An index by time: what is to be looked at when. Entries are hints; what is to be done and whether it still is, the
 * record says that they lead to. So they are made before that record is written, and may be left behind.
 */
export class DueList {
  /** Characters that the id of an entry has before its name. */
  static readonly PREFIX = DIGITS + 1;
  readonly #storage: StateStorage;
  readonly #space: string;
  readonly #scope: readonly string[];

  constructor(storage: StateStorage, space: string, scope: readonly string[] = []) {
    this.#storage = storage;
    this.#space = space;
    this.#scope = scope;
  }

  /**
   * Makes an entry; the same again changes nothing.
   * @param ttl seconds until it goes by itself
   * @returns its key
   */
  async add(at: number, name: string, notes: readonly Change[] = [], ttl?: number): Promise<RecordKey> {
    const changes: readonly Change[] = notes.length > 0 ? notes : [{ op: 'touch' }];
    const key = this.#key(at, name);
    await this.#storage.commit(key, changes, ttl === undefined ? {} : { expiry: { set: ttl } });
    return key;
  }

  /** What is due at `now`, the oldest first, at most `limit` (1000), of those that come `after` the entry of this id. */
  async due(
    now: number,
    options: { readonly contents?: boolean; readonly limit?: number; readonly after?: string } = {},
  ): Promise<DueEntry[]> {
    const due: DueEntry[] = [];
    const query = { space: this.#space, scope: this.#scope, limit: ROUND, ...options };
    for await (const { key, record, updatedAt } of this.#storage.list(query) as AsyncIterable<RecordInfo>) {
      const at = Number(key.id.slice(0, DIGITS));
      if (at > now) break;
      due.push({ key, at, name: key.id.slice(DueList.PREFIX), madeAt: updatedAt, record });
    }
    return due;
  }

  async remove({ key }: Pick<DueEntry, 'key'>): Promise<void> {
    await this.#storage.delete(key);
  }

  /** Removes the entry of a moment, unless it was made, or made once more, after the moment `since`. */
  async removeOlder(at: number, name: string, since: number): Promise<void> {
    const key = this.#key(at, name);
    const entry = await this.#storage.read(key, { fields: [] });
    if (entry && entry.updatedAt <= since) await deleteUnchanged(this.#storage, key, entry.version);
  }

  #key(at: number, name: string): RecordKey {
    return { space: this.#space, scope: this.#scope, id: `${String(at).padStart(DIGITS, '0')}:${name}` };
  }
}
