import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { decode, encode, type Token } from '../../json.js';
import type { StateRecord } from '../../storage/state-storage.js';
import { uniqueId } from '../../unique-id.js';
import { ApiError } from './api-error.js';
import type { ConversationService, Wanted, WriteGuards, Written } from './conversation-service.js';

/** How long one caller waits for another that makes a conversation of the same user, in milliseconds. */
const CREATE_WAIT_MS = 5_000;
const CREATE_LEASE_MS = 10_000;
/** How long a user's keys are known after the last of them, in seconds: a week. */
const KEYS_TTL = 604_800;
const KEYS = 32;

export interface Begun extends Written {
  readonly created: boolean;
}

/** What a request under a key was answered with. */
interface Answered {
  readonly fingerprint: string;
  readonly sessionId: string;
  readonly created: boolean;
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
  const asked = idempotencyKey === undefined ? {} : { idempotencyKey: `api ${idempotencyKey}` };
  const answered = (reply: Token): Answered => {
    const known = decode<Answered>(reply);
    if (known.fingerprint === fingerprint) return known;
    throw new ApiError(422, 'IDEMPOTENCY_MISMATCH', 'This Idempotency-Key came with another request.');
  };
  const replay = async (reply: Token | undefined): Promise<Begun | undefined> => {
    if (reply === undefined) return undefined;
    const { sessionId, created } = answered(reply);
    const found = await service.find(subDomain, sessionId, messages);
    return found && { ...found, created, replayed: true };
  };
  /** @returns what the key stood for already */
  const note = async (sessionId: string, created: boolean): Promise<Token | undefined> => {
    const { idempotencyKey: key } = asked;
    if (key === undefined) return undefined;
    const reply = encode({ fingerprint, sessionId, created } satisfies Answered);
    const answer = await storage.commit(turnstile, [], {
      idempotency: { key, reply, keep: KEYS },
      expiry: { set: KEYS_TTL },
      commitId: uniqueId(),
    });
    return answer.committed ? undefined : answer.record?.reply;
  };
  const active = async (): Promise<Begun | undefined> => {
    const found = await service.ofUser(subDomain, userId, messages);
    if (!found) return undefined;
    return (await replay(await note(found.key.id, false))) ?? { ...found, created: false, replayed: false };
  };

  const before = await active();
  if (before) return before;
  const token = uniqueId();
  const deadline = performance.now() + CREATE_WAIT_MS;
  let record: StateRecord | undefined;
  for (;;) {
    const begun = await storage.begin(turnstile, { token, leaseMs: CREATE_LEASE_MS, ...asked });
    record = begun.busy ? undefined : begun.record;
    if (!begun.busy) break;
    if (performance.now() > deadline) {
      throw new ApiError(503, 'BUSY', 'Somebody else begins a conversation of this user.');
    }
    await delay(5 + Math.random() * 20);
  }
  try {
    const meanwhile = (await replay(record?.reply)) ?? (await active());
    if (meanwhile) return meanwhile;
    // Noted before it is made: who comes again after a crash in between makes the one that was noted.
    const fresh = randomBytes(18).toString('base64url');
    const reply = record?.reply ?? (await note(fresh, true));
    const sessionId = reply === undefined ? fresh : answered(reply).sessionId;
    return { ...(await service.make(wanted, sessionId, messages)), created: true, replayed: false };
  } finally {
    await storage.commit(turnstile, [], { lease: { token } }).catch(() => {});
  }
}
