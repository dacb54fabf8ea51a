import type { ConversationContext } from '../conversation/conversation-context.js';
import { announceEnd } from '../conversation/ends.js';
import { GRACE, LIFE, type Life, lifeOf } from '../conversation/life.js';
import { runTurn } from '../conversation/run-turn.js';
import { encode } from '../json.js';
import type { RecordKey } from '../storage/keys.js';
import type { Hooks } from './hooks.js';
import { permit } from './invoke-stateful.js';
import { endOf, meetsOver, runEnded } from './lifecycle.js';

/** How often the hooks for an end are run before the conversation goes anyway. */
const MAX_TRIES = 6;
const FIRST_RETRY_MS = 30_000;
const MAX_RETRY_MS = 3_600_000;

export interface Ending {
  /** By the names of their owners. */
  readonly skills: ReadonlyMap<string, Hooks>;
  /** Ends it whether or not it is over, and says why. Absent: only where it is over, or was ended to be read on. */
  readonly detail?: string | undefined;
  /** Who says so; another's conversation is refused. */
  readonly userId?: string | undefined;
  /** How often its hooks have failed. */
  readonly tries: number;
  /** Longest wait for turns that run. Default: that of the context. */
  readonly waitMs?: number | undefined;
}

/**
 * Ends a conversation, in a turn of its own: runs the hooks while its state can be read, then removes it, or leaves it
 * as one that nobody waits for where it is to be read on. Where a hook throws, that is logged, and its end announced to
 * be tried again.
 * @returns `absent` where there was nothing to end, `later` where a hook failed
 * @throws CONTEXT_FORBIDDEN, CONVERSATION_BUSY
 */
export async function endConversation(
  context: ConversationContext,
  key: RecordKey,
  { skills, detail, userId, tries, waitMs }: Ending,
): Promise<'ended' | 'absent' | 'later'> {
  const { storage, logger, settings: given } = context;
  const settings = { ...given, concurrency: 'serial' as const, ...(waitMs !== undefined && { waitMs }) };
  let failed: { readonly error: unknown; readonly life: Life | undefined } | undefined;
  try {
    const { result } = await runTurn({ storage, key, settings, logger }, async (turn) => {
      const over = meetsOver(turn, context);
      const life = lifeOf(turn.life);
      const stays = !over && detail === undefined;
      if (turn.attributes() === undefined || (stays && !life?.ended)) return 'absent';
      if (!over) permit(turn, key.id, userId);
      const end = endOf((over || stays) && life ? life : { started: {}, over: detail });
      const ofOwner = context.scoped({ ...context.scope, userId: turn.owner ?? context.scope.userId });
      try {
        await runEnded(turn, ofOwner.inTurn(turn, key.id, false), key.id, skills, end);
      } catch (error) {
        if (tries + 1 < MAX_TRIES) {
          failed = { error, life };
          throw error;
        }
        logger.error(error, `a hook for the end of a conversation failed ${MAX_TRIES} times; it goes without`);
      }
      if (stays) {
        await turn.apply([{ op: 'remove', field: LIFE }]);
        await turn.expire({ set: life?.ttl ?? 'none' });
      } else await turn.erase();
      // To whoever ends it, it was over already.
      return over && detail !== undefined ? 'absent' : 'ended';
    });
    return result;
  } catch (error) {
    if (!failed) throw error;
  }
  const pause = Math.min(FIRST_RETRY_MS * 2 ** tries, MAX_RETRY_MS);
  logger.error(failed.error, `a hook for the end of a conversation failed; it is tried again in ${pause / 1000} s`);
  const now = context.clock.now();
  await announceEnd(storage, { key, at: now + pause, now, tries: tries + 1 });
  if (detail !== undefined && failed.life) {
    // Said to be over it stays: no later turn goes on with it.
    const life: Life = { ...failed.life, over: detail };
    await storage.commit(key, [{ op: 'set', field: LIFE, value: encode(life) }], {
      condition: { exists: true },
      expiry: { set: Math.ceil(pause / 1000) + GRACE },
    });
  }
  return 'later';
}
