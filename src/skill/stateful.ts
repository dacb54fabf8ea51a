import type { ConversationContext } from '../conversation/conversation-context.js';
import { checkOptions } from './check-options.js';
import { recordHandler } from './handler-metadata.js';
import { methodName } from './handler-name.js';
import { hooksOf } from './hooks.js';
import { invokeStateful } from './invoke-stateful.js';
import { decorateMethod, refuseBare } from './method-decorator.js';
import type { StatefulOptions } from './stateful-options.js';
import { drain, type Emit, isReplyStream, isStreaming, streamOf } from './stream-turn.js';
import type { Task } from './task.js';

/** A method that `@stateful()` may stand on: the injected parameters have defaults (`= injected()`). */
export type StatefulMethod<T extends Task = Task> = (
  task: T,
  context?: ConversationContext,
  contextId?: string,
) => Promise<unknown> | AsyncGenerator<unknown, unknown, undefined>;

/** Works as a legacy decorator and as a TC39 one. */
export interface StatefulDecorator<T extends Task = Task> {
  <M extends StatefulMethod<T>>(
    target: object,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<M>,
  ): TypedPropertyDescriptor<M>;
  <This, M extends StatefulMethod<T>>(method: M, context: ClassMethodDecoratorContext<This, M>): M;
}

/**
 * Gives a handler method a memory: every call is a turn on the task's conversation, with a `ConversationContext` and
 * the context id injected. Options given here override `agent_config.yaml` for this handler.
 *
 * The call rejects with `CONTEXT_ID_MISSING`, `CONTEXT_FORBIDDEN`, `CONVERSATION_BUSY`, `STORAGE_UNAVAILABLE`,
 * `LEASE_LOST` or what the handler threw, in which case nothing of the turn is kept.
 *
 * An `async *` method streams: the turn runs while its chunks are taken, and commits after the last one. Its reply is
 * what it returns, else what it yielded.
 * @throws DECORATOR_MISUSE at decoration, on anything but a method; INVALID_ARGUMENT, TTL_INVALID for a wrong option
 */
export function stateful<T extends Task = Task>(options: StatefulOptions<T> = {}): StatefulDecorator<T> {
  // biome-ignore lint/complexity/noArguments: what it is given without parentheses is in no signature
  refuseBare('stateful', arguments);
  checkOptions(options, '@stateful()');
  return ((...args: unknown[]) =>
    decorateMethod('stateful', args, (method) => {
      const streams = isStreaming(method);
      function turn(this: unknown, task: T, given?: unknown, _contextId?: unknown, ...rest: unknown[]): unknown {
        const run = (emit?: Emit): Promise<unknown> =>
          invokeStateful(
            options,
            (ofTask, context, contextId) => {
              const reply: unknown = method.call(this, ofTask, context, contextId, ...rest);
              return streams && isReplyStream(reply) ? drain(reply, emit) : reply;
            },
            task,
            given,
            methodName(this, method),
            hooksOf(this),
          );
        return streams ? streamOf(run) : run();
      }
      recordHandler(turn, { kind: 'stateful', options });
      return turn;
    })) as StatefulDecorator<T>;
}
