import { recordHandler } from './handler-metadata.js';
import { decorateMethod, refuseBare } from './method-decorator.js';
import type { Task } from './task.js';

/** Works as a legacy decorator and as a TC39 one. */
export interface HandlerDecorator {
  <M extends (task: Task) => unknown>(
    target: object,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<M>,
  ): TypedPropertyDescriptor<M>;
  <This, M extends (task: Task) => unknown>(method: M, context: ClassMethodDecoratorContext<This, M>): M;
}

/**
 * Marks a handler method that keeps no state.
 * @throws DECORATOR_MISUSE at decoration, on anything but a method
 */
export function handler(): HandlerDecorator {
  // biome-ignore lint/complexity/noArguments: what it is given without parentheses is in no signature
  refuseBare('handler', arguments);
  return ((...args: unknown[]) =>
    decorateMethod('handler', args, (method) => {
      function call(this: unknown, ...given: unknown[]): unknown {
        return method.apply(this, given);
      }
      recordHandler(call, { kind: 'stateless', options: {} });
      return call;
    })) as HandlerDecorator;
}
