import { createHash } from 'node:crypto';
import { OUTGOING } from '../conversation/outgoing.js';
import type { Turn } from '../conversation/turn.js';
import { decode, encode, integerOf } from '../json.js';
import { keyOfText, keyText, type RecordKey } from '../storage/keys.js';
import { uniqueId } from '../unique-id.js';
import type { Outbox } from './outbox.js';
import type { OutboxEntry } from './outbox-entry.js';
import { readableRecords, throwIfDown, type Unreadable } from './readable-records.js';

/** Notes that a turn may have committed something to send, for whoever comes when its process has died. */
const SPACE = 'sync-turns';
/** A note older than this is looked at for whether its turn runs. */
const RUNNING_MS = 60_000;
const PROBE_MS = 2_000;

interface TurnState {
  /** Made before the commit, removed once what it committed lies in the outbox. */
  readonly noted: Promise<void>;
}

/**
 * What a turn has to tell the remote. It is part of the turn's own commit, in a field of the conversation, so it is
 * sent if and only if the turn happened, whoever dies when. After the commit it is moved to the outbox; a note made
 * before it leads whoever restarts to what was not moved.
 */
export class TurnOutbox {
  readonly #outbox: Outbox;
  readonly #turns = new WeakMap<Turn, TurnState>();
  /** Told when entries of a turn have come into the outbox, or could not. */
  readonly #moved: (work: Promise<readonly OutboxEntry[]>) => void;

  constructor(outbox: Outbox, moved: (work: Promise<readonly OutboxEntry[]>) => void) {
    this.#outbox = outbox;
    this.#moved = moved;
  }

  /** Makes the entry part of the turn. Resolves once it would be found after a crash. */
  async add(turn: Turn, entry: OutboxEntry, now: number): Promise<void> {
    if (turn.storage !== this.#outbox.storage) return this.#foreign(turn, entry);
    // First of all, before anything is waited for: the handler may not wait for us.
    const applied = turn.apply([{ op: 'append', field: OUTGOING, item: encode(entry) }]);
    let state = this.#turns.get(turn);
    if (!state) {
      const note: RecordKey = { space: SPACE, scope: [], id: uniqueId() };
      const noted = this.#note(note, turn.text, now);
      state = { noted };
      this.#turns.set(turn, state);
      // Also after a failure: what was saved before it is committed.
      turn.afterwards(() => this.#moved(noted.catch(() => {}).then(() => this.move(turn.key, note))));
    }
    await applied;
    await state.noted;
  }

  /** Moves what a conversation has committed to the outbox, and takes the note away. @returns what was moved */
  async move(key: RecordKey, note?: RecordKey): Promise<readonly OutboxEntry[]> {
    const { storage } = this.#outbox;
    const moved: OutboxEntry[] = [];
    for (;;) {
      const record = await storage.read(key);
      const token = record?.fields.get(OUTGOING);
      if (!record || token === undefined) break;
      const entries = decode<OutboxEntry[]>(token);
      await this.#outbox.takeOver(sourceOf(key), entries);
      // Of a conversation that was erased nothing else is left: the record goes as well.
      const isRest = record.fields.size === 1 && record.logTotal === 0;
      const { committed } = await storage.commit(key, [{ op: 'remove', field: OUTGOING }], {
        condition: { fields: new Map([[OUTGOING, token]]), ...(isRest && { version: record.version }) },
        ...(isRest && { expiry: { set: 1 } }),
      });
      if (!committed) continue;
      moved.push(...entries);
      break;
    }
    if (note) await storage.delete(note);
    return moved;
  }

  /** Moves what turns of processes that died have committed. `failed` is told of one that could not be; the others are. */
  async recover(now: number, failed: Unreadable): Promise<readonly OutboxEntry[]> {
    const { storage } = this.#outbox;
    const moved: OutboxEntry[] = [];
    for await (const { key: note, record } of readableRecords(storage, SPACE, failed)) {
      const text = record.fields.get('key');
      if (text === undefined) continue;
      const key = keyOfText(decode<string>(text));
      const isOld = now - (integerOf(record.fields.get('at') ?? '0') ?? 0) > RUNNING_MS;
      try {
        moved.push(...(isOld ? await this.#clear(key, note) : await this.move(key)));
      } catch (error) {
        throwIfDown(error);
        failed(error);
      }
    }
    return moved;
  }

  /** Moves what is left of a turn, and takes its note away unless it still runs. */
  async #clear(key: RecordKey, note: RecordKey): Promise<readonly OutboxEntry[]> {
    const { storage } = this.#outbox;
    const token = uniqueId();
    if ((await storage.begin(key, { token, leaseMs: PROBE_MS })).busy) return this.move(key);
    try {
      return await this.move(key, note);
    } finally {
      await storage.commit(key, [], { lease: { token } }).catch(() => {});
    }
  }

  async #note(note: RecordKey, text: string, now: number): Promise<void> {
    const changes = [
      { op: 'set', field: 'key', value: encode(text) },
      { op: 'set', field: 'at', value: String(now) },
    ] as const;
    // Whenever somebody comes: what it leads to waits as long. One that leads nowhere is removed by the first who looks.
    await this.#outbox.storage.commit(note, changes, { expiry: { set: 'none' } });
  }

  /** A turn on another storage cannot carry it: it goes into the outbox when the turn is committed. */
  #foreign(turn: Turn, entry: OutboxEntry): void {
    turn.afterwards((committed) => {
      if (committed) this.#moved(this.#outbox.add(entry).then(() => [entry]));
    });
  }
}

function sourceOf(key: RecordKey): string {
  return createHash('sha256').update(keyText(key)).digest('base64url').slice(0, 22);
}
