import { decorateMethod, refuseBare } from '../skill/method-decorator.js';
import { isReplyStream, isStreaming } from '../skill/stream-turn.js';
import type { Task } from '../skill/task.js';
import { contextIn, refuseAbove, type SyncDecorator, type SyncDecoratorOptions, targetOf } from './decorator-target.js';

export interface AutoSyncOptions extends SyncDecoratorOptions {
  /** The state. Default: the variables of the conversation that was injected. */
  readonly state?: ((task: Task, result: unknown) => Readonly<Record<string, unknown>>) | undefined;
}

/**
 * Notes the state for the remote when the handler has returned: what the sync's mapping finds in the variables of the
 * conversation. Stands below `@stateful()`, and is part of its turn: what the turn takes back is never sent.
 * @throws DECORATOR_MISUSE at decoration, above `@stateful()` or on anything but a method
 */
export function autoSyncState(options: AutoSyncOptions = {}): SyncDecorator {
  // biome-ignore lint/complexity/noArguments: what it is given without parentheses is in no signature
  refuseBare('autoSyncState', arguments);
  const note = async (args: readonly unknown[], result: unknown): Promise<void> => {
    const target = targetOf(options, args);
    if (!target) return;
    const task = args[0] as Task;
    const contextId = args.find((arg, index) => index > 0 && typeof arg === 'string') as string | undefined;
    const state = options.state
      ? options.state(task, result)
      : await contextIn(args)?.getVariables(contextId ?? task.contextId ?? task.id);
    if (state) await target.sync.syncState(target.user, state);
  };
  return ((...given: unknown[]) =>
    decorateMethod('autoSyncState', given, (method) => {
      refuseAbove('autoSyncState', method);
      if (isStreaming(method)) {
        return async function* (this: unknown, ...args: unknown[]) {
          const stream: unknown = method.apply(this, args);
          const result: unknown = isReplyStream(stream) ? yield* stream : undefined;
          await note(args, result);
          return result;
        };
      }
      return async function (this: unknown, ...args: unknown[]) {
        const result: unknown = await method.apply(this, args);
        await note(args, result);
        return result;
      };
    })) as SyncDecorator;
}
