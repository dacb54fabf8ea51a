import type { Stop } from '../conversation/turn-queue.js';
import { AgentUpError } from '../errors.js';
import type { Task } from './task.js';

/**
 * Lets somebody end a turn before its time. Costs next to nothing until it is used: the signal is made when a handler
 * asks for it, which few do, while every message over the network has one of these.
 */
export class Cancellation implements Stop {
  #reason: { readonly error: unknown } | undefined;
  #controller: AbortController | undefined;
  readonly #heard = new Set<(error: AgentUpError) => void>();

  /** The task, with a `signal` of this. */
  static of<T extends Task>(task: T, cancellation: Cancellation): T {
    return {
      ...task,
      get signal() {
        return cancellation.signal;
      },
      [CANCELLATION]: cancellation,
    } as T;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#reason) this.#controller.abort(this.#reason.error);
    return this.#controller.signal;
  }

  cancel(reason: unknown): void {
    this.#reason ??= { error: reason };
    this.#controller?.abort(reason);
    for (const hear of this.#heard) hear(cancelled(reason));
  }

  /** @throws TURN_CANCELLED where it has been cancelled */
  check(): void {
    if (this.#reason) throw cancelled(this.#reason.error);
  }

  /** Calls back when it is cancelled. @returns ends that */
  hear(callback: (error: AgentUpError) => void): () => void {
    this.#heard.add(callback);
    return () => this.#heard.delete(callback);
  }
}

const CANCELLATION = Symbol.for('agentup.cancellation.1');
type Cancellable = Task & { readonly [CANCELLATION]?: Cancellation };

/** What may end the turn of a task, where anything may. */
export function stopOf(task: Task): Stop | undefined {
  const { [CANCELLATION]: own } = task as Cancellable;
  if (own) return own;
  return task.signal && stopBy(task.signal, cancelled);
}

/** @param errorOf makes what is thrown of the signal's reason */
export function stopBy(signal: AbortSignal, errorOf: (reason: unknown) => unknown): Stop {
  return {
    check() {
      if (signal.aborted) throw errorOf(signal.reason);
    },
    hear(callback) {
      const heard = (): void => callback(errorOf(signal.reason));
      signal.addEventListener('abort', heard, { once: true });
      return () => signal.removeEventListener('abort', heard);
    },
  };
}

/** @throws TURN_CANCELLED where the task has been cancelled */
export function throwIfCancelled(task: Task): void {
  stopOf(task)?.check();
}

/** What `run` answers, or TURN_CANCELLED as soon as the task is cancelled, whatever `run` still does. */
export function cancellable<R>(task: Task, run: () => R | Promise<R>): R | Promise<R> {
  return stoppable(stopOf(task), run);
}

/** What `run` answers, or what `stop` says as soon as it does, whatever `run` still does. */
export function stoppable<R>(stop: Stop | undefined, run: () => R | Promise<R>): R | Promise<R> {
  if (!stop) return run();
  const answer = run();
  if (!(answer instanceof Promise)) return answer;
  return new Promise<R>((resolve, reject) => {
    const deaf = stop.hear(reject);
    answer.then(
      (value) => {
        deaf();
        resolve(value);
      },
      (error: unknown) => {
        deaf();
        reject(error);
      },
    );
  });
}

function cancelled(cause: unknown): AgentUpError {
  return new AgentUpError('TURN_CANCELLED', 'the turn was cancelled', { cause });
}
