import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { decode, encode } from '../../json.js';
import type { Change, StateRecord } from '../../storage/state-storage.js';
import { uniqueId } from '../../unique-id.js';
import { ApiError } from './api-error.js';
import type { ConversationService, Wanted, WriteGuards, Written } from './conversation-service.js';

/** How long one caller waits for another that makes a conversation of the same user, in milliseconds. */
const CREATE_WAIT_MS = 5_000;
const CREATE_LEASE_MS = 10_000;
/** How long a user's keys are known after the last of them, in seconds: a week. */
const KEYS_TTL = 604_800;
/** The newest so many are. */
const KEYS = 32;
const KEY = 'key:';

export interface Begun extends Written {
  readonly created: boolean;
}

/** What a request under a key was answered with. */
interface Answered {
  readonly fingerprint: string;
  readonly sessionId: string;
  readonly created: boolean;
  /** When: epoch milliseconds. */
  readonly at: number;
}

/**
 * The user's active conversation, begun where there is none. Two that ask at once get the same; under an idempotency
 * key the same as the first time, ended or not, for as long as it is there.
 * @throws IDEMPOTENCY_MISMATCH, BUSY
 */
export async function beginForUser(
  service: ConversationService,
  wanted: Wanted,
  { idempotencyKey, fingerprint }: WriteGuards,
  messages: number,
): Promise<Begun> {
  const { storage } = service;
  const { subDomain, userId } = wanted;
  // Who holds its lease makes a conversation for the user. It outlives the conversation, and so do keys that it knows.
  const turnstile = { space: 'api-users', scope: [subDomain], id: userId };
  // A field, not what a storage keeps for redeliveries: not every storage moves those along.
  const field = idempotencyKey === undefined ? undefined : KEY + idempotencyKey;
  const answered = (record: StateRecord | undefined): Answered | undefined => {
    const token = field === undefined ? undefined : record?.fields.get(field);
    const known = token === undefined ? undefined : decode<Answered>(token);
    if (known === undefined || known.fingerprint === fingerprint) return known;
    throw new ApiError(422, 'IDEMPOTENCY_MISMATCH', 'This Idempotency-Key came with another request.');
  };
  const replay = async (known: Answered | undefined): Promise<Begun | undefined> => {
    const found = known && (await service.find(subDomain, known.sessionId, messages));
    return found && { ...found, created: known.created, replayed: true };
  };
  /** @returns what the key stood for already */
  const note = async (record: StateRecord | undefined, sessionId: string, created: boolean) => {
    if (field === undefined) return undefined;
    const value = encode({ fingerprint, sessionId, created, at: service.clock.now() } satisfies Answered);
    const answer = await storage.commit(turnstile, [...crowdedOut(record), { op: 'set', field, value }], {
      condition: { fields: new Map([[field, undefined]]) },
      expiry: { set: KEYS_TTL },
      commitId: uniqueId(),
    });
    return answer.committed ? undefined : answered(answer.record);
  };
  const active = async (record: StateRecord | undefined): Promise<Begun | undefined> => {
    const found = await service.ofUser(subDomain, userId, messages);
    if (!found) return undefined;
    return (await replay(await note(record, found.key.id, false))) ?? { ...found, created: false, replayed: false };
  };

  const seen = field === undefined ? undefined : await storage.read(turnstile);
  const before = await active(seen);
  if (before) return before;
  const token = uniqueId();
  const deadline = performance.now() + CREATE_WAIT_MS;
  let record: StateRecord | undefined;
  for (;;) {
    const begun = await storage.begin(turnstile, { token, leaseMs: CREATE_LEASE_MS });
    record = begun.busy ? undefined : begun.record;
    if (!begun.busy) break;
    if (performance.now() > deadline) {
      throw new ApiError(503, 'BUSY', 'Somebody else begins a conversation of this user.');
    }
    await delay(5 + Math.random() * 20);
  }
  try {
    const known = answered(record);
    const meanwhile = (await replay(known)) ?? (await active(record));
    if (meanwhile) return meanwhile;
    // Noted before it is made: who comes again after a crash in between makes the one that was noted.
    const fresh = randomBytes(18).toString('base64url');
    const { sessionId } = known ?? (await note(record, fresh, true)) ?? { sessionId: fresh };
    return { ...(await service.make(wanted, sessionId, messages)), created: true, replayed: false };
  } finally {
    await storage.commit(turnstile, [], { lease: { token } }).catch(() => {});
  }
}

/** The oldest keys, where one more would be too many. */
function crowdedOut(record: StateRecord | undefined): Change[] {
  const keys = [...(record?.fields ?? [])].map(([field, token]) => ({ field, at: decode<Answered>(token).at }));
  keys.sort((a, b) => b.at - a.at);
  return keys.slice(KEYS - 1).map(({ field }) => ({ op: 'remove', field }));
}
