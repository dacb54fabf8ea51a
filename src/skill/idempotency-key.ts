import { createHash } from 'node:crypto';
import { AgentUpError } from '../errors.js';
import type { StatefulOptions } from './stateful-options.js';
import type { Task } from './task.js';

/** Longer ones are hashed: providers make ids of some hundred characters. */
const MAX_PLAIN = 400;

/**
 * What tells a redelivery from another message: the handler, the user, and the id of the message. Two handlers that
 * are given the same message each answer it; a user who guesses the id of another's is not told the other's reply.
 * `undefined` where the task names no message, or nothing is to be recognised.
 * @throws INVALID_ARGUMENT
 */
export function idempotencyKeyOf<T extends Task>(
  { dedupe }: StatefulOptions<T>,
  task: T,
  handlerName: string,
): string | undefined {
  if (dedupe === false) return undefined;
  const id: unknown = dedupe ? dedupe(task) : task.messageId;
  if (id === undefined || id === null || id === '') return undefined;
  if (typeof id !== 'string') {
    throw new AgentUpError('INVALID_ARGUMENT', `the id of a message is a string, not a ${typeof id}`, {
      argument: dedupe ? 'dedupe' : 'messageId',
    });
  }
  // No part before the last holds a blank, so that no two of them come to the same.
  const name = `${encodeURIComponent(handlerName)} ${encodeURIComponent(task.userId ?? '')}`;
  const key = `${name} ${id}`;
  return key.length <= MAX_PLAIN ? key : createHash('sha256').update(key).digest('hex');
}
