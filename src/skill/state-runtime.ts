import { AsyncLocalStorage } from 'node:async_hooks';
import type { ConversationContext } from '../conversation/conversation-context.js';
import { AgentUpError } from '../errors.js';
import type { Hooks } from './hooks.js';
import type { StatefulOptions } from './stateful-options.js';

/** Turns a handler's options into a context over an open storage. An agent is one; the process has a default one. */
export interface StateRuntime {
  // biome-ignore lint/suspicious/noExplicitAny: options of handlers with tasks of any type
  contextFor(options: StatefulOptions<any>): ConversationContext | Promise<ConversationContext>;
  /** The skills that have hooks, by their owner's name: a turn may meet the end of another's conversation. */
  readonly skills?: ReadonlyMap<string, Hooks> | undefined;
}

/** What whoever calls a handler asks of it, and wants to know beside its reply. */
export interface CallNotes {
  redelivered: boolean;
  /** The scope of handlers that name none. Default `conversation`. */
  readonly scope?: StatefulOptions['scope'];
  /** The id of the skill that was called. */
  readonly skill?: string | undefined;
  /** Told each chunk of a web stream that the handler returns. */
  readonly onChunk?: ((chunk: unknown) => void | Promise<void>) | undefined;
}

interface Call {
  readonly runtime: StateRuntime;
  readonly notes: CallNotes;
}

/** What resolves handlers that are called outside any agent. */
export interface DefaultStateRuntime extends StateRuntime {
  /** Lets go of what it has opened; the next call opens it again. */
  close(): Promise<void>;
}

interface Shared {
  readonly current: AsyncLocalStorage<Call>;
  default?: DefaultStateRuntime;
}
const SHARED = Symbol.for('agentup.runtime.1');
const globals = globalThis as { [SHARED]?: Shared };
const shared: Shared = (globals[SHARED] ??= { current: new AsyncLocalStorage() });

/** Sets what resolves handlers that are called outside any agent. @returns the first that was set, which stays */
export function setDefaultRuntime(runtime: DefaultStateRuntime): DefaultStateRuntime {
  shared.default ??= runtime;
  return shared.default;
}

/** Runs `call` so that handlers in it get their state from this runtime, and note what became of the first. */
export function withRuntime<R>(runtime: StateRuntime, notes: CallNotes, call: () => R): R {
  return shared.current.run({ runtime, notes }, call);
}

/** Where a handler that is called from here notes what became of it. */
export function currentNotes(): CallNotes | undefined {
  return shared.current.getStore()?.notes;
}

/** The scope of a handler that names none, called from here. */
export function currentScope(): StatefulOptions['scope'] {
  return shared.current.getStore()?.notes.scope;
}

/** Whoever resolves handlers called from here. */
export function currentRuntime(): StateRuntime {
  const runtime = shared.current.getStore()?.runtime ?? shared.default;
  if (!runtime) throw new AgentUpError('CONFIG_NOT_FOUND', 'no agent runs here and nothing resolves handlers');
  return runtime;
}

/** The skills with hooks of the agent that runs this. */
export function currentSkills(): ReadonlyMap<string, Hooks> | undefined {
  return shared.current.getStore()?.runtime.skills;
}
