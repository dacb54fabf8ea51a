import type { ConversationContext } from '../conversation/conversation-context.js';
import { recordHandler } from './handler-metadata.js';
import { functionName } from './handler-name.js';
import { invokeStateful } from './invoke-stateful.js';
import { dressed } from './method-decorator.js';
import type { StatefulOptions } from './stateful-options.js';
import type { Task } from './task.js';

/** A function that has become a handler. A context passed to it replaces the configured one, as in tests. */
export type StatefulFunction<T extends Task, R> = (task: T, context?: ConversationContext) => Promise<R>;

/** What `@stateful()` does, for a plain function, and for JavaScript. */
export function withState<R, T extends Task = Task>(
  handler: (task: T, context: ConversationContext, contextId: string) => R | Promise<R>,
  options: StatefulOptions<T> = {},
): StatefulFunction<T, R> {
  const name = functionName(handler);
  const turn = dressed(
    () =>
      function (this: unknown, task: T, given?: unknown): Promise<R> {
        return invokeStateful(options, (...args) => handler.apply(this, args), task, given, name);
      },
    handler,
  );
  recordHandler(turn, { kind: 'stateful', options });
  return turn;
}
