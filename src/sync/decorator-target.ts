import { ConversationContext } from '../conversation/conversation-context.js';
import { enclosingTurn } from '../conversation/run-turn.js';
import { AgentUpError } from '../errors.js';
import { handlerMetadata } from '../skill/handler-metadata.js';
import type { Task } from '../skill/task.js';
import type { ConversationSync } from './conversation-sync.js';
import { syncOver } from './sync-registry.js';
import type { SyncUser } from './sync-types.js';

/** What both decorators take. */
export interface SyncDecoratorOptions {
  /** Default: the sync over the storage that the turn is on; where there is none nothing is noted. */
  readonly sync?: (() => ConversationSync | undefined) | undefined;
  /** Whose conversation. Default: the task's `userId`, of the tenant `tenantId`; without a user nothing is noted. */
  readonly user?: ((task: Task) => SyncUser | undefined) | undefined;
}

/** A handler method, as the decorators see it. */
// biome-ignore lint/suspicious/noExplicitAny: what follows the task is the handler's own affair
export type SyncedMethod = (task: Task, ...rest: any[]) => unknown;

/** Works as a legacy decorator and as a TC39 one. */
export interface SyncDecorator {
  <M extends SyncedMethod>(
    target: object,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<M>,
  ): TypedPropertyDescriptor<M>;
  <This, M extends SyncedMethod>(method: M, context: ClassMethodDecoratorContext<This, M>): M;
}

/** Where a call of a decorated method goes; `undefined`: nowhere. */
export function targetOf(
  { sync, user }: SyncDecoratorOptions,
  args: readonly unknown[],
): { readonly sync: ConversationSync; readonly user: SyncUser } | undefined {
  const task = args[0] as Task;
  const context = contextIn(args);
  const storage = context?.storage ?? enclosingTurn()?.storage;
  const found = sync ? sync() : storage && syncOver(storage);
  const whose = user ? user(task) : userOf(task);
  return found && whose !== undefined ? { sync: found, user: whose } : undefined;
}

/** The context that was injected into a handler. */
export function contextIn(args: readonly unknown[]): ConversationContext | undefined {
  return args.find((arg): arg is ConversationContext => arg instanceof ConversationContext);
}

/** Above `@stateful()` a decorator would note outside the turn what the turn may still take back. */
export function refuseAbove(decorator: string, method: object): void {
  if (handlerMetadata(method)?.kind !== 'stateful') return;
  throw new AgentUpError('DECORATOR_MISUSE', `@${decorator}() stands above @stateful(), outside its turn`, {
    fix: `move @${decorator}() below @stateful()`,
  });
}

function userOf({ userId, tenantId, contextId }: Task): SyncUser | undefined {
  if (userId === undefined) return undefined;
  return {
    userId,
    ...(tenantId !== undefined && { subDomain: tenantId }),
    ...(contextId !== undefined && { localId: contextId }),
  };
}
