import { AgentUpError } from '../errors.js';
import type { Task } from './task.js';
import { cancellable, throwIfCancelled } from './turn-signal.js';

/** A handler's stream, on its way: `Chunk`s while it runs, its reply at the end. */
export type ReplyStream<Reply = unknown> = AsyncGenerator<unknown, Reply, undefined>;

/** Hands one chunk on, and waits until it is taken. */
export type Emit = (chunk: unknown) => Promise<void>;

/** Is this what an `async function*` returns? */
export function isReplyStream(value: unknown): value is ReplyStream {
  if (typeof value !== 'object' || value === null || !(Symbol.asyncIterator in value)) return false;
  const { next, return: end, throw: fail } = value as Partial<ReplyStream>;
  return [next, end, fail].every((method) => typeof method === 'function');
}

/** Was this written as `async function*`? */
export function isStreaming(handler: (...args: never[]) => unknown): boolean {
  return Object.prototype.toString.call(handler) === '[object AsyncGeneratorFunction]';
}

/**
 * Runs a stream to its end. Its reply is what it returns; where it returns nothing, what it yielded: texts as one
 * text, anything else as a list.
 */
export async function drain(stream: ReplyStream, emit?: Emit): Promise<unknown> {
  const chunks: unknown[] = [];
  for (;;) {
    const { done, value } = await stream.next();
    if (done) return value === undefined ? whole(chunks) : value;
    chunks.push(value);
    try {
      await emit?.(value);
    } catch (error) {
      await stream.return(undefined);
      throw error;
    }
  }
}

/** Is this a web stream, such as the body of a `fetch`? Asked without naming the class, which Node loads when asked for. */
export function isWebStream(value: unknown): value is ReadableStream {
  return (
    typeof value === 'object' && value !== null && typeof (value as Partial<ReadableStream>).getReader === 'function'
  );
}

/**
 * A web stream as a handler's stream; its bytes are text. It is stopped where nobody wants more of it, and at once where
 * the signal says so: what it waits for, such as a model that thinks, may be long in coming.
 */
async function* chunksOf(stream: ReadableStream, signal?: AbortSignal): ReplyStream<undefined> {
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  const stop = (): void => void reader.cancel(signal?.reason).catch(() => {});
  signal?.addEventListener('abort', stop, { once: true });
  try {
    for (;;) {
      const { done, value: chunk } = await reader.read();
      if (done) break;
      const value: unknown = chunk instanceof Uint8Array ? decoder.decode(chunk, { stream: true }) : chunk;
      if (value !== '') yield value;
    }
    const rest = decoder.decode();
    if (rest !== '') yield rest;
  } finally {
    signal?.removeEventListener('abort', stop);
    stop();
  }
}

/** Runs a web stream to its end as the reply to a task. @throws TURN_CANCELLED as soon as that is cancelled */
export async function drainWebStream(stream: ReadableStream, task: Task, emit?: Emit): Promise<unknown> {
  const heeding = async (chunk: unknown): Promise<void> => {
    throwIfCancelled(task);
    await emit?.(chunk);
  };
  return cancellable(task, () => drain(chunksOf(stream, task.signal), heeding));
}

function whole(chunks: readonly unknown[]): unknown {
  return chunks.every((chunk) => typeof chunk === 'string') ? chunks.join('') : chunks;
}

/**
 * The stream of something that emits while it runs. It starts with the first chunk asked for; each waits until it is
 * taken; who stops early makes the pending `emit` fail, so that the turn fails and keeps nothing.
 */
export async function* streamOf<Reply>(run: (emit: Emit) => Promise<Reply>): ReplyStream<Reply> {
  let offer: ((chunk: { readonly value: unknown }) => void) | undefined;
  let taken: { resolve(): void; reject(error: unknown): void } | undefined;
  const next = (): Promise<{ readonly value: unknown }> =>
    new Promise((resolve) => {
      offer = resolve;
    });
  let offered = next();
  const running = run((value) => {
    offer?.({ value });
    return new Promise((resolve, reject) => {
      taken = { resolve, reject };
    });
  });
  try {
    for (;;) {
      const step = await Promise.race([offered, running.then((reply) => ({ reply }))]);
      if ('reply' in step) return step.reply;
      yield step.value;
      offered = next();
      taken?.resolve();
      taken = undefined;
    }
  } finally {
    taken?.reject(new AgentUpError('TURN_CANCELLED', 'nobody listens to this stream any more'));
    await running.catch(() => {});
  }
}
