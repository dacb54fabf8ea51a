import 'reflect-metadata';
import type { ConversationContext } from '../conversation/conversation-context.js';
import { classOf, methodsWith } from './handler-metadata.js';
import { ownerName } from './handler-name.js';
import { decorateMethod, refuseBare } from './method-decorator.js';
import type { Task } from './task.js';

/** Whom a hook is told about. */
export interface ConversationEvent {
  readonly contextId: string;
  /** Who wrote, or whom the conversation belongs to. */
  readonly userId?: string | undefined;
  readonly tenantId?: string | undefined;
}

export interface StartedEvent extends ConversationEvent {
  /** The message it began with; absent where `agent.conversations.start` or a tool began it. */
  readonly task?: Task | undefined;
  /** What was given to `agent.conversations.start`. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

export interface EndedEvent extends ConversationEvent {
  /** `ended`: by `agent.conversations.end`. `expired`: nobody wrote to it for its time to live. */
  readonly reason: 'ended' | 'expired';
  /** What was said to `end` about why. */
  readonly detail?: string | undefined;
}

export interface ToolCalledEvent extends ConversationEvent {
  readonly tool: string;
  /** As the schema put them out. */
  readonly args: unknown;
}

export interface ToolCompletedEvent extends ToolCalledEvent {
  /** What the tool returned; absent where it failed. */
  readonly result?: unknown;
  /** What it threw, or `TOOL_TIMEOUT`; absent where it returned. */
  readonly error?: unknown;
  readonly durationMs: number;
}

export interface ErrorEvent extends ConversationEvent {
  /** What threw: the handler, a tool, or a hook. */
  readonly phase: 'handler' | 'tool' | 'started' | 'ended' | 'toolCalled' | 'toolCompleted';
  readonly error: unknown;
  /** Where a tool or a hook for it threw. */
  readonly tool?: string | undefined;
}

/** What each hook is told. */
export interface HookEvents {
  started: StartedEvent;
  ended: EndedEvent;
  toolCalled: ToolCalledEvent;
  toolCompleted: ToolCompletedEvent;
  error: ErrorEvent;
}

export type HookKind = keyof HookEvents;

/** A method that a hook decorator may stand on. */
export type HookMethod<Event> = (event: Event, context: ConversationContext, contextId: string) => unknown;

/** Works as a legacy decorator and as a TC39 one. */
export interface HookDecorator<Event> {
  <M extends HookMethod<Event>>(
    target: object,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<M>,
  ): TypedPropertyDescriptor<M>;
  <This, M extends HookMethod<Event>>(method: M, context: ClassMethodDecoratorContext<This, M>): M;
}

/**
 * Runs before the first message of a conversation that this skill handles, once per conversation, across processes.
 * What it writes is committed before the handler begins. When it throws, the turn fails as if the handler had.
 * @throws DECORATOR_MISUSE at decoration, on anything but a method; so do the others
 */
export const onConversationStarted = hookDecorator('started', 'onConversationStarted');

/**
 * Runs when a conversation that this skill has handled is over: ended by `agent.conversations.end`, or nobody wrote to
 * it for its time to live. The state can still be read; it goes when the hook returns. One that throws is tried again.
 */
export const onConversationEnded = hookDecorator('ended', 'onConversationEnded');

/** Runs before a tool of this skill, in its turn. When it throws, the tool is not called and its call fails. */
export const onToolCalled = hookDecorator('toolCalled', 'onToolCalled');

/** Runs after a tool of this skill: in its turn where it returned, after that where it failed. Its own throw is logged. */
export const onToolCompleted = hookDecorator('toolCompleted', 'onToolCompleted');

/**
 * Hears what handlers, tools and hooks of this skill threw, after their turn; it cannot swallow it. Its context writes
 * outside that turn. Its own throw is logged.
 */
export const onError = hookDecorator('error', 'onError');

const HOOKS = 'agentup:hooks';

function hookDecorator<K extends HookKind>(kind: K, decorator: string): () => HookDecorator<HookEvents[K]> {
  return (...given: unknown[]) => {
    refuseBare(decorator, given);
    return ((...args: unknown[]) =>
      decorateMethod(decorator, args, (method) => {
        const kinds = (Reflect.getOwnMetadata(HOOKS, method) as readonly HookKind[] | undefined) ?? [];
        Reflect.defineMetadata(HOOKS, [...kinds, kind], method);
        return method;
      })) as HookDecorator<HookEvents[K]>;
  };
}

/** The hooks of one skill. */
export interface Hooks {
  readonly self: object;
  /** The skill's name, alike in every process: what is noted in a conversation that it has been started for. */
  readonly owner: string;
  /** The names of the methods. */
  readonly methods: Readonly<Record<HookKind, readonly string[]>>;
}

type ClassHooks = Omit<Hooks, 'self'> | null;

const known = new WeakMap<object, ClassHooks>();

/** The hooks of a skill's instance; `undefined` where its class has none. */
export function hooksOf(self: unknown): Hooks | undefined {
  const type = classOf(self);
  if (type === undefined) return undefined;
  let found = known.get(type);
  if (found === undefined) {
    found = readHooks(type);
    known.set(type, found);
  }
  return found === null ? undefined : { ...found, self: self as object };
}

function readHooks(type: { readonly prototype: object; readonly name: string }): ClassHooks {
  const methods: Record<HookKind, string[]> = { started: [], ended: [], toolCalled: [], toolCompleted: [], error: [] };
  const marked = methodsWith(type, (fn) =>
    typeof fn === 'function' ? (Reflect.getOwnMetadata(HOOKS, fn) as readonly HookKind[] | undefined) : undefined,
  );
  for (const { name, metadata } of marked) for (const kind of metadata) methods[kind].push(name);
  return marked.length === 0 ? null : { owner: ownerName(type) ?? type.name, methods };
}

/** Runs the hooks of one kind, one after the other. Throws what the first throws that does. */
export async function runHooks<K extends HookKind>(
  { self, methods }: Hooks,
  kind: K,
  event: HookEvents[K],
  context: ConversationContext,
): Promise<void> {
  for (const name of methods[kind]) {
    await (self as Record<string, HookMethod<HookEvents[K]>>)[name]?.(event, context, event.contextId);
  }
}
