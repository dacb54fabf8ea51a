import { createHash } from 'node:crypto';
import { decode, encode, integerOf } from '../json.js';
import { DueList } from '../storage/due-list.js';
import { keyText, type RecordKey } from '../storage/keys.js';
import type { StateStorage } from '../storage/state-storage.js';
import { GRACE } from './life.js';

/** Entries of conversations whose end is to be looked at, of all tenants. */
const SPACE = 'conversation-ends';

/** Conversations looked at in one round: also where as many belong to other agents, one's own come up. */
const ROUND = 20_000;

/** A conversation that may be over. */
export interface DueEnd {
  readonly key: RecordKey;
  /** How often its hooks have failed. */
  readonly tries: number;
  /** Takes this entry away. */
  done(): Promise<void>;
}

/** Has the end of a conversation looked at, at a moment: epoch milliseconds. @returns the entry that says so */
export async function announceEnd(
  storage: StateStorage,
  { key, at, now, tries = 0 }: { key: RecordKey; at: number; now: number; tries?: number },
): Promise<DueEnd> {
  // The id of a conversation may be as long as one can be, and the entry has the moment in its own as well.
  const name = createHash('sha256').update(keyText(key)).digest('hex');
  const list = new DueList(storage, SPACE);
  const entry = await list.add(
    at,
    name,
    [
      { op: 'set', field: 'key', value: encode({ space: key.space, scope: [...key.scope], id: key.id }) },
      { op: 'set', field: 'tries', value: String(tries) },
    ],
    // As long as the conversation may be there.
    Math.ceil(Math.max(0, at - now) / 1000) + 2 * GRACE,
  );
  return { key, tries, done: () => list.remove({ key: entry }) };
}

/** The conversations whose end is to be looked at by now. */
export async function dueEnds(storage: StateStorage, now: number): Promise<DueEnd[]> {
  const list = new DueList(storage, SPACE);
  const ends: DueEnd[] = [];
  for (const entry of await list.due(now, { contents: true, limit: ROUND })) {
    const key = entry.record?.fields.get('key');
    if (key === undefined) continue;
    const tries = integerOf(entry.record?.fields.get('tries') ?? '0') ?? 0;
    ends.push({ key: decode<RecordKey>(key), tries, done: () => list.remove(entry) });
  }
  return ends;
}
