import { AsyncLocalStorage } from 'node:async_hooks';
import type { ConversationContext } from '../conversation/conversation-context.js';
import { AgentUpError } from '../errors.js';
import type { StatefulOptions } from './stateful-options.js';

/** Turns a handler's options into a context over an open storage. An agent is one; the process has a default one. */
export interface StateRuntime {
  // biome-ignore lint/suspicious/noExplicitAny: options of handlers with tasks of any type
  contextFor(options: StatefulOptions<any>): ConversationContext | Promise<ConversationContext>;
}

interface Shared {
  readonly current: AsyncLocalStorage<StateRuntime>;
  default?: StateRuntime;
}
const SHARED = Symbol.for('agentup.runtime.1');
const globals = globalThis as { [SHARED]?: Shared };
const shared: Shared = (globals[SHARED] ??= { current: new AsyncLocalStorage() });

/** Sets what resolves handlers that are called outside any agent. The first one stays. */
export function setDefaultRuntime(runtime: StateRuntime): void {
  shared.default ??= runtime;
}

/** Runs `call` so that handlers in it get their state from this runtime. */
export function withRuntime<R>(runtime: StateRuntime, call: () => R): R {
  return shared.current.run(runtime, call);
}

/** Whoever resolves handlers called from here. */
export function currentRuntime(): StateRuntime {
  const runtime = shared.current.getStore() ?? shared.default;
  if (!runtime) throw new AgentUpError('CONFIG_NOT_FOUND', 'no agent runs here and nothing resolves handlers');
  return runtime;
}
