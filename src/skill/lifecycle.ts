import type { ConversationContext } from '../conversation/conversation-context.js';
import { announceEnd } from '../conversation/ends.js';
import { isOver, LIFE, type Life, lifeOf, outlived, overAt } from '../conversation/life.js';
import { runTurn } from '../conversation/run-turn.js';
import type { Turn } from '../conversation/turn.js';
import type { Stop } from '../conversation/turn-queue.js';
import { encode } from '../json.js';
import { type EndedEvent, type ErrorEvent, type Hooks, runHooks, type StartedEvent } from './hooks.js';
import { currentSkills } from './state-runtime.js';
import { stoppable } from './turn-signal.js';

/** A turn as its lifecycle sees it. */
export interface Entry {
  readonly turn: Turn;
  /** The injected context. */
  readonly context: ConversationContext;
  readonly contextId: string;
  /** Of the skill that runs. */
  readonly hooks: Hooks | undefined;
  readonly event: Omit<StartedEvent, 'contextId' | 'userId' | 'tenantId'>;
}

/** A parallel turn would have to start or end its conversation, which only one at a time may do. Never leaves. */
export class EnterFirst extends Error {}

/** Is the conversation of this turn over, though still there? Then it belongs to nobody any more. */
export function meetsOver(turn: Turn, context: ConversationContext): boolean {
  if (turn.life === undefined || turn.joined) return false;
  return isOver(lifeOf(turn.life) as Life, turn.updatedAt ?? 0, context.clock.now());
}

/**
 * What comes before the handler of a turn: a conversation that is over is ended, one that the skill does not know is
 * started. Nothing, and no promise, where there is nothing to do, as in nearly every turn.
 * @throws EnterFirst in a parallel turn
 */
export function enter(entry: Entry): Promise<void> | undefined {
  const { turn, context, hooks } = entry;
  const waits = hooks !== undefined && hooks.methods.started.length + hooks.methods.ended.length > 0;
  if (!waits && turn.life === undefined) return undefined;
  const over = meetsOver(turn, context);
  const starts = waits && (over || lifeOf(turn.life)?.started[hooks.owner] === undefined);
  if (!over && !starts) return undefined;
  if (!turn.leased && !turn.joined) throw new EnterFirst();
  return over ? endThenStart(entry, starts) : start(entry);
}

export interface EntryAlone extends Pick<Entry, 'hooks' | 'event'> {
  readonly owner: string | undefined;
  /** Ends it before its time, also while it waits for its turn or a hook. */
  readonly stop: Stop | undefined;
  /** Called once it is its turn: what goes wrong from then on is a hook's, or of what it changed. */
  readonly onTurn?: () => void;
}

/** `enter` in a turn of its own that no other one overlaps. */
export async function enterAlone(
  context: ConversationContext,
  contextId: string,
  { hooks, owner, event, stop, onTurn }: EntryAlone,
): Promise<void> {
  const { storage, logger } = context;
  const settings = { ...context.settings, concurrency: 'serial' as const };
  await runTurn({ storage, key: context.keyOf(contextId), settings, logger, owner, stop }, async (turn) => {
    stop?.check();
    onTurn?.();
    const inside = context.inTurn(turn, contextId, false);
    await stoppable(stop, async () => enter({ turn, context: inside, contextId, hooks, event }));
  });
}

async function endThenStart(entry: Entry, starts: boolean): Promise<void> {
  const { turn, context, hooks, contextId } = entry;
  const life = lifeOf(turn.life) as Life;
  const known = new Map(currentSkills());
  if (hooks) known.set(hooks.owner, hooks);
  try {
    await runEnded(turn, context, contextId, known, endOf(life));
  } catch (error) {
    // The message cannot wait, and what is over is not handed out.
    context.logger.error(error, 'a hook for the end of a conversation failed when the next one began');
  }
  await turn.erase();
  await turn.save();
  if (starts) await start(entry);
}

async function start({ turn, context, contextId, hooks, event }: Entry): Promise<void> {
  if (!hooks) return;
  const now = context.clock.now();
  const before = lifeOf(turn.life);
  let life: Life = { ...before, started: { ...before?.started, [hooks.owner]: now } };
  if (hooks.methods.ended.length > 0 && life.ttl === undefined) {
    const { updatedAt = 0, expiresAt } = turn.attributes() ?? {};
    // What is there already may have a time to live of its own, and its times tell which.
    const isLimited = updatedAt > 0 && expiresAt !== undefined;
    const ttl = isLimited ? Math.max(1, Math.round((expiresAt - updatedAt) / 1000)) : context.settings.ttl;
    life = { ...life, ttl };
    const at = overAt(life, now);
    // Before the conversation is written: an entry that leads nowhere is found out, a missing one is not.
    if (at !== undefined) await announceEnd(turn.storage, { key: turn.key, at, now });
    await turn.apply([{ op: 'set', field: LIFE, value: encode(life) }]);
    await turn.expire({ set: outlived(ttl) });
  } else {
    await turn.apply([{ op: 'set', field: LIFE, value: encode(life) }]);
  }
  await runHooks(hooks, 'started', { ...event, ...idsOf(context, contextId) }, context);
  // A turn inside another one leaves it to that when to commit: half of it is not written down.
  if (!turn.joined) await turn.save();
}

/** Runs the hooks for the end of a conversation, of the skills that it was started for. */
export async function runEnded(
  turn: Turn,
  context: ConversationContext,
  contextId: string,
  known: ReadonlyMap<string, Hooks>,
  end: Pick<EndedEvent, 'reason' | 'detail'>,
): Promise<void> {
  const userId = turn.owner;
  const { tenantId } = context.scope;
  for (const owner of Object.keys(lifeOf(turn.life)?.started ?? {})) {
    const hooks = known.get(owner);
    if (!hooks) continue;
    const event = { contextId, userId, tenantId, ...end };
    const inside = context.scope.userId === userId ? context : ownersContext(context, turn, contextId);
    try {
      await runHooks(hooks, 'ended', event, inside);
    } catch (error) {
      await reportError(hooks, { contextId, userId, tenantId, phase: 'ended', error }, inside);
      throw error;
    }
  }
}

/** Why a conversation that is over is. */
export function endOf({ over, ended }: Life): Pick<EndedEvent, 'reason' | 'detail'> {
  if (over === undefined) return { reason: ended ? 'ended' : 'expired' };
  return { reason: 'ended', ...(over !== '' && { detail: over }) };
}

/** Tells the skill's `@onError()` methods. Never throws: what happened matters more than that it cannot be told. */
export async function reportError(
  hooks: Hooks | undefined,
  event: ErrorEvent,
  context: ConversationContext,
): Promise<void> {
  if (!hooks || hooks.methods.error.length === 0) return;
  try {
    await runHooks(hooks, 'error', event, context.scoped(context.scope));
  } catch (error) {
    context.logger.error(error, 'a hook for errors failed itself');
  }
}

/** Whom the hooks of a turn are told about. */
export function idsOf({ scope }: ConversationContext, contextId: string) {
  return { contextId, userId: scope.userId, tenantId: scope.tenantId };
}

/** What the owner's caches are reached by, where somebody else's message met the end of the conversation. */
function ownersContext(context: ConversationContext, turn: Turn, contextId: string): ConversationContext {
  return context.scoped({ ...context.scope, userId: turn.owner }).inTurn(turn, contextId, false);
}
