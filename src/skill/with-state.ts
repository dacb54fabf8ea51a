import type { ConversationContext } from '../conversation/conversation-context.js';
import { AgentUpError } from '../errors.js';
import { checkOptions } from './check-options.js';
import { recordHandler } from './handler-metadata.js';
import { functionName } from './handler-name.js';
import { invokeStateful } from './invoke-stateful.js';
import { dressed } from './method-decorator.js';
import type { StatefulOptions } from './stateful-options.js';
import { drain, type Emit, isReplyStream, isStreaming, type ReplyStream, streamOf } from './stream-turn.js';
import type { Task } from './task.js';

/** A function that has become a handler. A context passed to it replaces the configured one, as in tests. */
export type StatefulFunction<T extends Task, R> = (task: T, context?: ConversationContext) => Promise<R>;

/** The same of an `async function*`. */
export type StreamingFunction<T extends Task, R> = (task: T, context?: ConversationContext) => ReplyStream<R>;

/**
 * What `@stateful()` does, for a plain function, and for JavaScript.
 * @throws INVALID_ARGUMENT for what is no function; INVALID_ARGUMENT, TTL_INVALID for a wrong option
 */
export function withState<R, T extends Task = Task>(
  handler: (task: T, context: ConversationContext, contextId: string) => AsyncGenerator<unknown, R, undefined>,
  options?: StatefulOptions<T>,
): StreamingFunction<T, R>;
export function withState<R, T extends Task = Task>(
  handler: (task: T, context: ConversationContext, contextId: string) => R | Promise<R>,
  options?: StatefulOptions<T>,
): StatefulFunction<T, R>;
export function withState<T extends Task>(
  handler: (task: T, context: ConversationContext, contextId: string) => unknown,
  options: StatefulOptions<T> = {},
): unknown {
  if (typeof handler !== 'function') {
    throw new AgentUpError('INVALID_ARGUMENT', `withState() takes a function, not ${typeof handler}`, {
      argument: 'handler',
    });
  }
  checkOptions(options, 'withState()');
  const name = functionName(handler);
  const streams = isStreaming(handler);
  const turn = dressed(
    () =>
      function (this: unknown, task: T, given?: unknown): unknown {
        const run = (emit?: Emit): Promise<unknown> =>
          invokeStateful<T, unknown>(
            options,
            (...args) => {
              const reply = handler.apply(this, args);
              return streams && isReplyStream(reply) ? drain(reply, emit) : reply;
            },
            task,
            given,
            name,
          );
        return streams ? streamOf(run) : run();
      },
    handler,
  );
  recordHandler(turn, { kind: 'stateful', options });
  return turn;
}
