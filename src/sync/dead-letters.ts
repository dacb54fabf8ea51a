import { toIso } from '../clock.js';
import { decode, encode } from '../json.js';
import type { RecordKey } from '../storage/keys.js';
import type { StateStorage } from '../storage/state-storage.js';
import type { OutboxEntry, SyncTarget, Work } from './outbox-entry.js';

const SPACE = 'sync-dead';
/** Thirty days, in seconds: somebody has to look at them. */
const TTL = 2_592_000;

/** An entry that the remote refused, and will refuse again as it is. */
export interface DeadLetter {
  readonly id: string;
  readonly target: SyncTarget;
  readonly work: Work;
  /** When it was noted, ISO 8601 UTC. */
  readonly notedAt: string;
  /** When the remote refused it, ISO 8601 UTC. */
  readonly refusedAt: string;
  readonly error: { readonly code: string; readonly message: string };
}

interface Kept {
  readonly entry: OutboxEntry;
  readonly error: DeadLetter['error'];
  readonly refusedAt: number;
}

/** Entries that were set aside so that those behind them could pass. Kept for 30 days. */
export class DeadLetters {
  readonly #storage: StateStorage;

  constructor(storage: StateStorage) {
    this.#storage = storage;
  }

  /** The same entry again changes nothing but the reason. */
  async put(entry: OutboxEntry, error: DeadLetter['error'], now: number): Promise<void> {
    const kept: Kept = { entry, error, refusedAt: now };
    await this.#storage.commit(keyOf(entry.id), [{ op: 'set', field: 'letter', value: encode(kept) }], {
      expiry: { set: TTL },
    });
  }

  async *list(): AsyncGenerator<DeadLetter, void, undefined> {
    for await (const { record } of this.#storage.list({ space: SPACE, contents: true })) {
      const kept = record?.fields.get('letter');
      if (kept !== undefined) yield letterOf(decode<Kept>(kept));
    }
  }

  async get(id: string): Promise<OutboxEntry | undefined> {
    const kept = (await this.#storage.read(keyOf(id)))?.fields.get('letter');
    return kept === undefined ? undefined : decode<Kept>(kept).entry;
  }

  /** @returns whether there was one */
  remove(id: string): Promise<boolean> {
    return this.#storage.delete(keyOf(id));
  }

  async count(): Promise<number> {
    let count = 0;
    for await (const _ of this.#storage.list({ space: SPACE })) count++;
    return count;
  }
}

function keyOf(id: string): RecordKey {
  return { space: SPACE, scope: [], id };
}

function letterOf({ entry, error, refusedAt }: Kept): DeadLetter {
  const { id, target, work, at } = entry;
  return { id, target, work, notedAt: toIso(at), refusedAt: toIso(refusedAt), error };
}
