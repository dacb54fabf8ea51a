import { ConversationContext } from '../conversation/conversation-context.js';
import { enclosingTurn, runTurn } from '../conversation/run-turn.js';
import { type Turn, turnEnded } from '../conversation/turn.js';
import { AgentUpError, isAgentUpError } from '../errors.js';
import { issuesText } from '../standard-schema.js';
import { type Hooks, hooksOf, runHooks } from './hooks.js';
import { permit } from './invoke-stateful.js';
import { EnterFirst, enter, enterAlone, idsOf, meetsOver, reportError } from './lifecycle.js';
import { currentRuntime } from './state-runtime.js';
import type { StatefulOptions } from './stateful-options.js';
import { stateOptionsOf, type ToolMetadata } from './tool-metadata.js';
import { stopBy } from './turn-signal.js';

/** A tool that can be called. */
export interface CallableTool {
  readonly metadata: ToolMetadata;
  readonly self: object;
  readonly run: (args: unknown, context: ConversationContext, contextId: string, signal: AbortSignal) => unknown;
}

/** Where a tool is called. What is not said is that of the turn it is called from. */
export interface ToolPlace {
  /** Replaces the configured context, as in tests. */
  readonly context?: unknown;
  readonly contextId?: string | undefined;
  readonly userId?: string | undefined;
  readonly tenantId?: string | undefined;
  readonly scope?: StatefulOptions['scope'];
  /** Gives the tool up when it is aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** What a tool itself threw, or its `@onToolCalled()` hook: told apart from what its turn fails with. */
export class ToolThrew {
  constructor(
    readonly phase: 'tool' | 'toolCalled' | 'started',
    readonly error: unknown,
  ) {}
}

/** Calls a tool; what it throws is thrown as it is. */
export async function invokeTool(tool: CallableTool, args: unknown, place: ToolPlace): Promise<unknown> {
  try {
    return await callTool(tool, args, place);
  } catch (error) {
    throw error instanceof ToolThrew ? error.error : error;
  }
}

/** Calls a tool; what it throws is thrown inside a `ToolThrew`. */
export async function callTool(tool: CallableTool, given: unknown, place: ToolPlace): Promise<unknown> {
  const { metadata, self } = tool;
  const args = await checked(metadata, given);
  const { context, contextId } = await locate(tool, place);
  const { storage, settings, logger } = context;
  const owner = context.scope.userId;
  const hooks = hooksOf(self);
  const begun = performance.now();
  const completed = (outcome: { result: unknown } | { error: unknown }, where: ConversationContext) =>
    toldCompleted(
      hooks,
      { ...idsOf(where, contextId), tool: metadata.name, args, durationMs: performance.now() - begun, ...outcome },
      where,
    );
  const stop = place.signal && stopBy(place.signal, (reason) => new ToolThrew('tool', reason));
  const turn = () =>
    runTurn({ storage, key: context.keyOf(contextId), settings, logger, owner, stop }, async (running) => {
      if (!meetsOver(running, context)) permit(running, contextId, owner);
      const inside = context.inTurn(running, contextId, false);
      return heeding(place.signal, running, async () => {
        await threw('started', () => enter({ turn: running, context: inside, contextId, hooks, event: {} }));
        const event = { ...idsOf(inside, contextId), tool: metadata.name, args };
        const result = await inTime(metadata, contextId, running, place.signal, async (signal) => {
          if (hooks) await threw('toolCalled', () => runHooks(hooks, 'toolCalled', event, inside));
          // The hook may have come back after nobody waited any more.
          signal.throwIfAborted();
          return threw('tool', () => tool.run(args, inside, contextId, signal));
        });
        await completed({ result }, inside);
        return result;
      });
    });
  try {
    try {
      return (await turn()).result;
    } catch (error) {
      if (!(error instanceof EnterFirst)) throw error;
      await threw('started', () => enterAlone(context, contextId, { hooks, owner, event: {}, stop }));
      return (await turn()).result;
    }
  } catch (error) {
    const cause = error instanceof ToolThrew ? error.error : error;
    const outside = context.scoped(context.scope);
    if (error instanceof ToolThrew || isAgentUpError(error, 'TOOL_TIMEOUT')) {
      const phase = error instanceof ToolThrew ? error.phase : 'tool';
      const event = { ...idsOf(outside, contextId), phase, error: cause, tool: metadata.name };
      await reportError(hooks, event, outside);
      if (phase === 'tool') await completed({ error: cause }, outside);
    }
    throw error;
  }
}

/** @throws TOOL_INPUT_INVALID */
async function checked({ name, input }: ToolMetadata, given: unknown): Promise<unknown> {
  const args = given === undefined ? {} : given;
  const refuse = (why: string, issues?: readonly unknown[]): AgentUpError =>
    new AgentUpError('TOOL_INPUT_INVALID', `the arguments of the tool ${name} do not fit: ${why}`, {
      tool: name,
      ...(issues && { issues }),
      fix: 'correct the arguments, and call it again',
    });
  if (typeof args !== 'object' || args === null || Array.isArray(args)) throw refuse('they are no object');
  if (!input) return args;
  const result = await input['~standard'].validate(args);
  if (result.issues) throw refuse(issuesText(result.issues), result.issues);
  return result.value;
}

/** The context over the storage and in the scope of the tool, and the conversation. @throws CONTEXT_ID_MISSING */
async function locate(
  { metadata, self }: CallableTool,
  place: ToolPlace,
): Promise<{ context: ConversationContext; contextId: string }> {
  const enclosing = enclosingTurn();
  if (enclosing?.givenUp || (enclosing?.ended && place.contextId === undefined)) throw turnEnded(enclosing.key.id);
  const around = enclosing?.ended ? undefined : enclosing;
  // Also after its end: who calls is the same, and what is refused in the turn is so later.
  const from = enclosing?.context;
  const given = place.context instanceof ConversationContext ? place.context : undefined;
  // Called from a handler without a word about where: on the conversation of that handler.
  if (around && from && !given && place.contextId === undefined && metadata.state === undefined) {
    const { scope } = from;
    return { context: from.scoped({ ...scope, userId: place.userId ?? scope.userId }), contextId: around.key.id };
  }
  const options = stateOptionsOf(metadata, self);
  const base = given ?? (await currentRuntime().contextFor(options));
  const inherited = given?.scope ?? from?.scope;
  const userId = place.userId ?? inherited?.userId;
  const tenantId = place.tenantId ?? inherited?.tenantId;
  const kind = options.scope ?? place.scope ?? inherited?.kind ?? 'conversation';
  const contextId = kind === 'user' ? userId : (place.contextId ?? around?.key.id);
  if (contextId === undefined || contextId === '') {
    throw new AgentUpError(
      'CONTEXT_ID_MISSING',
      `the tool ${metadata.name} is called outside a turn, on no conversation`,
      {
        argument: kind === 'user' ? 'userId' : 'contextId',
        tool: metadata.name,
        fix: 'name one: agent.tools.call(name, args, { contextId, userId })',
      },
    );
  }
  return { context: base.scoped({ kind, userId, tenantId }), contextId };
}

/** What `call` comes to, or a `ToolThrew` as soon as the caller gives it up, whatever it waits for: a hook may hang. */
async function heeding<R>(signal: AbortSignal | undefined, turn: Turn, call: () => Promise<R>): Promise<R> {
  if (!signal) return call();
  const threw = (): ToolThrew => new ToolThrew('tool', signal.reason);
  if (signal.aborted) throw threw();
  let giveUp = (): void => {};
  const givenUp = new Promise<never>((_, reject) => {
    giveUp = () => {
      // What is done from now on must not become part of an outer turn.
      turn.giveUp();
      reject(threw());
    };
    signal.addEventListener('abort', giveUp, { once: true });
  });
  try {
    return await Promise.race([call(), givenUp]);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

/**
 * Gives `call` a signal that is aborted when its time is up, or by its caller.
 * @throws TOOL_TIMEOUT
 */
async function inTime<R>(
  { name, timeoutMs }: ToolMetadata,
  contextId: string,
  turn: Turn,
  given: AbortSignal | undefined,
  call: (signal: AbortSignal) => Promise<R>,
): Promise<R> {
  const aborter = new AbortController();
  const stop = (): void => {
    clearTimeout(timer);
    aborter.abort(given?.reason);
  };
  given?.addEventListener('abort', stop, { once: true });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new AgentUpError('TOOL_TIMEOUT', `the tool ${name} did not return within ${timeoutMs / 1000} s`, {
        tool: name,
        contextId,
        fix: 'make it faster, stop it by its signal, or raise the timeout in @tool()',
      });
      turn.giveUp();
      aborter.abort(error);
      reject(error);
    }, timeoutMs);
  });
  try {
    return await Promise.race([call(aborter.signal), late]);
  } finally {
    clearTimeout(timer);
    given?.removeEventListener('abort', stop);
  }
}

async function threw<R>(phase: ToolThrew['phase'], call: () => R | Promise<R>): Promise<R> {
  try {
    return await call();
  } catch (error) {
    // To begin a conversation is to write: that the storage is down is not the tool's doing.
    const isStorages = phase === 'started' && isAgentUpError(error, 'STORAGE_UNAVAILABLE');
    if (isStorages || error instanceof EnterFirst || error instanceof ToolThrew) throw error;
    throw new ToolThrew(phase, error);
  }
}

/** What is done is done: that a hook after it fails is logged and reported. */
async function toldCompleted(
  hooks: Hooks | undefined,
  event: Parameters<typeof runHooks<'toolCompleted'>>[2],
  context: ConversationContext,
): Promise<void> {
  if (!hooks || hooks.methods.toolCompleted.length === 0) return;
  try {
    await runHooks(hooks, 'toolCompleted', event, context);
  } catch (error) {
    context.logger.error(error, 'a hook after a tool failed');
    const { contextId, userId, tenantId, tool } = event;
    await reportError(hooks, { contextId, userId, tenantId, phase: 'toolCompleted', error, tool }, context);
  }
}
