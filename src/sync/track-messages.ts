import { inspect } from 'node:util';
import { isInputRequired } from '../skill/input-required.js';
import { decorateMethod, refuseBare } from '../skill/method-decorator.js';
import { isReplyStream, isStreaming } from '../skill/stream-turn.js';
import { type Task, textOf } from '../skill/task.js';
import { refuseAbove, type SyncDecorator, type SyncDecoratorOptions, targetOf } from './decorator-target.js';

/** Which side of a message is tracked. */
export type TrackedRole = 'user' | 'assistant';

/**
 * Notes messages for the remote: `user`, the text of the task, before the handler runs; `assistant`, what it returns,
 * or yields, as text. Without a role both. Stands below `@stateful()`, and is part of its turn: of a turn that fails
 * neither is sent.
 * @throws DECORATOR_MISUSE at decoration, above `@stateful()` or on anything but a method
 */
export function trackMessages(role?: TrackedRole, options: SyncDecoratorOptions = {}): SyncDecorator {
  // biome-ignore lint/complexity/noArguments: what it is given without parentheses is in no signature
  refuseBare('trackMessages', arguments);
  const note = async (as: TrackedRole, args: readonly unknown[], text: string): Promise<void> => {
    if ((role !== undefined && role !== as) || text === '') return;
    const target = targetOf(options, args);
    await target?.sync.addMessage(target.user, as, text);
  };
  return ((...given: unknown[]) =>
    decorateMethod('trackMessages', given, (method) => {
      refuseAbove('trackMessages', method);
      if (isStreaming(method)) {
        return async function* (this: unknown, ...args: unknown[]) {
          await note('user', args, textOf(args[0] as Task));
          const stream: unknown = method.apply(this, args);
          if (!isReplyStream(stream)) return stream;
          let said = '';
          for (;;) {
            const { done, value } = await stream.next();
            if (done) {
              await note('assistant', args, value === undefined ? said : textOfReply(value));
              return value;
            }
            said += textOfReply(value);
            try {
              yield value;
            } catch (error) {
              await stream.throw(error);
            }
          }
        };
      }
      return async function (this: unknown, ...args: unknown[]) {
        await note('user', args, textOf(args[0] as Task));
        const result: unknown = await method.apply(this, args);
        await note('assistant', args, textOfReply(result));
        return result;
      };
    })) as SyncDecorator;
}

function textOfReply(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value === undefined || value === null) return '';
  if (isInputRequired(value)) return value.question;
  try {
    return JSON.stringify(value) ?? inspect(value);
  } catch {
    return inspect(value);
  }
}
