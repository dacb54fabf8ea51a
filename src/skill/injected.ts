import { AgentUpError } from '../errors.js';

/**
 * The default of a parameter that `@stateful()` fills in: it keeps the parameter non-optional inside the method
 * and spares the caller. Evaluated only when nothing was injected.
 * @throws NOT_INJECTED
 */
export function injected<T>(): T {
  throw new AgentUpError('NOT_INJECTED', 'nothing was injected here: the method was called without its turn', {
    fix: 'put @stateful() above the method, or wrap the function with withState()',
  });
}
