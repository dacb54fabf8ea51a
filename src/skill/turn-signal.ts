import { AgentUpError } from '../errors.js';
import type { Task } from './task.js';

/** @throws TURN_CANCELLED where the task's signal is aborted */
export function throwIfCancelled({ signal }: Task): void {
  if (signal?.aborted) throw cancelled(signal);
}

/** What `run` answers, or TURN_CANCELLED as soon as the task's signal is aborted, whatever `run` still does. */
export function cancellable<R>({ signal }: Task, run: () => R | Promise<R>): R | Promise<R> {
  if (!signal) return run();
  return new Promise<R>((resolve, reject) => {
    const abort = (): void => reject(cancelled(signal));
    signal.addEventListener('abort', abort, { once: true });
    (async () => run())()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', abort));
  });
}

function cancelled({ reason }: AbortSignal): AgentUpError {
  return new AgentUpError('TURN_CANCELLED', 'the turn was cancelled', { cause: reason });
}
