import { createHash } from 'node:crypto';
import type { AgentUpError } from '../errors.js';
import { isAgentUpError } from '../errors.js';
import type { ConversationClient } from './conversation-client.js';
import { type Batch, bodyOf, keyOf, type SyncTarget } from './outbox-entry.js';

/** Statuses that say that the remote as a whole is down, not that it fails on one conversation. */
const DOWN = new Set([undefined, 408, 425, 429, 502, 503, 504]);

/** What became of one batch. */
export type Delivery =
  | { readonly outcome: 'delivered'; readonly session: string | undefined }
  /** It will be refused again as it is. */
  | { readonly outcome: 'refused'; readonly error: AgentUpError; readonly session: string | undefined }
  /** It is to be sent again as it is. `down`: so is everything else. */
  | {
      readonly outcome: 'later';
      readonly error: AgentUpError;
      readonly down: boolean;
      readonly session: string | undefined;
    };

/** Brings one batch to the remote, in one attempt: begins the conversation there where none is known. */
export async function deliver(
  client: ConversationClient,
  batch: Batch,
  known: string | undefined,
  signal: AbortSignal,
): Promise<Delivery> {
  const target = batch.entries[0]?.target as SyncTarget;
  const options = { subDomain: target.subDomain, messages: 0, signal, retries: 0, idempotencyKey: keyOf(batch) };
  const op = batch.entries[0]?.work.op;
  let session = known;
  let gone: string | undefined;
  for (let isSecond = false; ; isSecond = true) {
    try {
      if (session === undefined) {
        const { userId, localId, botId } = target;
        const input = { userId, ...(localId !== undefined && { localId }), ...(botId !== undefined && { botId }) };
        // After one that is gone another is begun, under a key of its own; under the first it would come back, ended.
        const after =
          gone === undefined ? '' : `.${createHash('sha256').update(gone).digest('base64url').slice(0, 22)}`;
        const idempotencyKey = `${options.idempotencyKey}.open${after}`;
        session = (await client.create(input, { ...options, idempotencyKey })).sessionId;
      }
      if (op === 'end') await client.end(session, options);
      else if (op === 'reset') await client.reset(session, options);
      else {
        const body = bodyOf(batch);
        if (Object.keys(body).length > 0) await client.sync(session, body, options);
      }
      return { outcome: 'delivered', session: op === 'end' ? undefined : session };
    } catch (error) {
      if (!isAgentUpError(error)) throw error;
      const { status, reason } = error.details;
      // It came under this key before, in another form: it has had its effect.
      if (reason === 'IDEMPOTENCY_MISMATCH' && session !== undefined) return { outcome: 'delivered', session };
      if (error.code === 'SYNC_REFUSED') return { outcome: 'refused', error, session };
      const isGone = session !== undefined && (error.code === 'SYNC_NOT_FOUND' || status === 409);
      if (isGone && (op === 'end' || op === 'reset')) return { outcome: 'delivered', session: undefined };
      if (isGone && !isSecond) {
        gone = session;
        session = undefined;
        continue;
      }
      const down = error.code === 'SYNC_UNAVAILABLE' ? DOWN.has(status) : session === undefined;
      return { outcome: 'later', error, down: down || error.code === 'UNAUTHENTICATED', session };
    }
  }
}
