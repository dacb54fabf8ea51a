import type { Conversation } from '../conversation/conversation.js';
import { ConversationContext } from '../conversation/conversation-context.js';
import { forbidden } from '../conversation/forbidden.js';
import { isInTurn, runTurn, type TurnOutcome } from '../conversation/run-turn.js';
import type { Turn } from '../conversation/turn.js';
import { AgentUpError, isAgentUpError } from '../errors.js';
import { openStorage } from '../storage/open-storage.js';
import { activeTelemetry, type TurnNote } from '../telemetry.js';
import type { Hooks } from './hooks.js';
import { idempotencyKeyOf } from './idempotency-key.js';
import { isInputRequired } from './input-required.js';
import { EnterFirst, enter, enterAlone, idsOf, meetsOver, reportError } from './lifecycle.js';
import { refuseMisspelled } from './misspelled.js';
import { currentNotes, currentRuntime, currentScope } from './state-runtime.js';
import type { StatefulOptions } from './stateful-options.js';
import { decodeReply, encodeReply, isKept } from './stored-reply.js';
import { drainWebStream, isWebStream } from './stream-turn.js';
import { checkTask, type Task } from './task.js';
import { cancellable, stopOf, throwIfCancelled } from './turn-signal.js';

type Handler<T, R> = (task: T, context: ConversationContext, contextId: string) => R | Promise<R>;

/**
 * One turn of a stateful handler: finds its context, begins, injects, commits. `given` is a context that the caller
 * passed instead of the one the configuration names, as tests do; `name` is the handler's, the same in every process, and `hooks` are its skill's.
 */
export function invokeStateful<T extends Task, R>(
  options: StatefulOptions<T>,
  handler: Handler<T, R>,
  task: T,
  given: unknown,
  name: string,
  hooks?: Hooks,
): Promise<R> {
  const telemetry = activeTelemetry();
  if (!telemetry) return invoke(options, handler, task, given, name, hooks);
  const note: TurnNote = { handler: name, skill: currentNotes()?.skill };
  return telemetry.turn(note, () => invoke(options, handler, task, given, name, hooks, note));
}

async function invoke<T extends Task, R>(
  options: StatefulOptions<T>,
  handler: Handler<T, R>,
  task: T,
  given: unknown,
  name: string,
  hooks?: Hooks,
  note?: TurnNote,
): Promise<R> {
  if (typeof task !== 'object' || task === null) {
    throw new AgentUpError('INVALID_ARGUMENT', 'a handler takes a task: an object with id and text', {
      argument: 'task',
    });
  }
  const found = given instanceof ConversationContext ? given : currentRuntime().contextFor(options);
  const base = found instanceof Promise ? await found : found;
  if (note) note.backend = base.storage.backend;
  const { kind, contextId } = place(options, task, currentScope());
  const scope = { kind, tenantId: task.tenantId, userId: task.userId };
  const context = base.scoped(scope);
  const { settings, logger, limits } = context;
  const owner = task.userId;
  const key = settings.dedupe === 0 ? undefined : idempotencyKeyOf(options, task, name);
  const notes = key === undefined || isInTurn() ? undefined : currentNotes();
  const stop = stopOf(task);
  const onChunk = isInTurn() ? undefined : currentNotes()?.onChunk;
  let phase: 'handler' | 'started' = 'handler';
  let progress: 'before' | 'running' | { result: R } = 'before';

  const run = (on: ConversationContext, degraded: boolean): Promise<TurnOutcome<R>> =>
    runTurn<R>(
      { storage: on.storage, key: on.keyOf(contextId), settings, logger, owner, idempotencyKey: key, stop },
      (turn) => {
        if (note) note.joined = turn.joined;
        if (!meetsOver(turn, on)) permit(turn, contextId, owner);
        if (turn.reply !== undefined) return undefined as R;
        throwIfCancelled(task);
        progress = 'running';
        const inside = on.inTurn(turn, contextId, degraded);
        const entering = degraded ? undefined : enter({ turn, context: inside, contextId, hooks, event: { task } });
        return cancellable(task, () => {
          if (entering === undefined) return handler(task, inside, contextId);
          phase = 'started';
          return entering.then(() => {
            phase = 'handler';
            return handler(task, inside, contextId);
          });
        });
      },
      (turn, result) => {
        throwIfCancelled(task);
        progress = { result };
        if (!turn.remembers || turn.reply !== undefined) return;
        // The message that asked may have begun a piece of work that its redelivery knows no id of.
        const kept = isInputRequired(result) ? { ...result, taskId: task.id } : result;
        const token = encodeReply(kept, limits.replyBytes);
        if (!isKept(token)) logger.warn({ contextId }, 'a reply cannot be kept for a redelivery of its message');
        turn.keepReply(token);
      },
      (result) => {
        if (!isWebStream(result)) return undefined;
        return async () => (await drainWebStream(result, task, async (chunk) => onChunk?.(chunk))) as R;
      },
    );
  const replyOf = ({ result, reply }: TurnOutcome<R>): R => {
    if (reply === undefined) return result;
    if (notes) notes.redelivered = true;
    if (note) note.redelivered = true;
    return decodeReply(reply, contextId) as R;
  };

  try {
    try {
      return replyOf(await run(context, false));
    } catch (error) {
      if (!(error instanceof EnterFirst)) throw error;
      progress = 'before';
      phase = 'started';
      const onTurn = (): void => {
        progress = 'running';
      };
      await enterAlone(context, contextId, { hooks, owner, event: { task }, stop, onTurn });
      progress = 'before';
      phase = 'handler';
      return replyOf(await run(context, false));
    }
  } catch (error) {
    if (hooks && (progress as string) === 'running' && !isAgentUpError(error, 'TURN_CANCELLED')) {
      await reportError(hooks, { ...idsOf(context, contextId), phase, error }, context);
    }
    if ((options.onUnavailable ?? base.options.onUnavailable) !== 'degrade') throw error;
    const reached = progress as 'before' | 'running' | { result: R };
    if (!isAgentUpError(error, 'STORAGE_UNAVAILABLE') || reached === 'running') throw error;
    logger.error({ contextId, error: error.message }, 'the storage is unavailable; going on without memory');
    if (note) note.degraded = true;
    // The handler ran to its end and is not run again: its reply stands, what it wanted to remember is lost.
    if (reached !== 'before') return reached.result;
    const storage = await openStorage({ backend: 'memory' });
    try {
      return replyOf(await run(context.over(storage), true));
    } finally {
      await storage.close();
    }
  }
}

/** The conversation that a task would have with a handler: what its next turn would be given. */
export function conversationOf<T extends Task>(
  base: ConversationContext,
  options: StatefulOptions<T>,
  task: T,
  scope?: StatefulOptions['scope'],
): Conversation {
  const { kind, contextId } = place(options, task, scope);
  return base.scoped({ kind, tenantId: task.tenantId, userId: task.userId }).conversation(contextId);
}

/** The context id of a task, where a handler with these options runs it. @throws CONTEXT_ID_MISSING, INVALID_ARGUMENT */
export function contextIdOf<T extends Task>(
  options: StatefulOptions<T>,
  task: T,
  scope?: StatefulOptions['scope'],
): string {
  return place(options, task, scope).contextId;
}

/** @throws CONTEXT_FORBIDDEN where the conversation belongs to another user */
export function permit({ owner }: Turn, contextId: string, userId: string | undefined): void {
  if (userId === undefined) return;
  if (owner !== undefined && owner !== userId) throw forbidden(contextId, userId);
}

function place<T extends Task>(
  options: StatefulOptions<T>,
  task: T,
  otherwise: StatefulOptions['scope'],
): { kind: 'conversation' | 'user' | 'session'; contextId: string } {
  checkTask(task);
  const kind = options.scope ?? otherwise ?? 'conversation';
  refuseMisspelled(task, 'tenantId');
  if (kind !== 'conversation') refuseMisspelled(task, 'userId');
  if (kind !== 'user' && !options.contextId) refuseMisspelled(task, 'contextId');
  const [contextId, wanted] =
    kind === 'user'
      ? [task.userId, 'a userId (the scope is user)']
      : options.contextId
        ? [options.contextId(task), 'a context id from options.contextId']
        : [task.contextId ?? task.id, 'a contextId or an id'];
  if (contextId === undefined || contextId === null || contextId === '') {
    throw new AgentUpError('CONTEXT_ID_MISSING', `the task needs ${wanted}, and it is missing or empty`, {
      argument: 'contextId',
    });
  }
  return { kind, contextId };
}
