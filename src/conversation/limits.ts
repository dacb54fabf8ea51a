import { AgentUpError } from '../errors.js';
import type { Token } from '../json.js';

/** Bounds that keep one conversation from hurting the others. */
export interface ConversationLimits {
  /** Longest name of a variable or metadata entry, in characters. Default 256. */
  readonly nameLength: number;
  /** Largest value or message, in bytes of its JSON. Default 1 MiB. */
  readonly valueBytes: number;
  /** Largest reply that is kept to answer a redelivery with, in bytes of its JSON. Default 64 KiB. */
  readonly replyBytes: number;
  /** Most variables and metadata entries of one conversation together. Default 10,000. */
  readonly entries: number;
}

export const DEFAULT_LIMITS: ConversationLimits = {
  nameLength: 256,
  valueBytes: 1_048_576,
  replyBytes: 65_536,
  entries: 10_000,
};

/** @throws INVALID_ARGUMENT, LIMIT_EXCEEDED */
export function checkName(name: unknown, limits: ConversationLimits): asserts name is string {
  if (typeof name !== 'string' || name === '') {
    throw new AgentUpError('INVALID_ARGUMENT', 'the name of an entry is a string that is not empty', {
      argument: 'name',
      fix: 'give it behind the id of the conversation: setVariable(contextId, name, value)',
    });
  }
  exceeds('nameLength', limits.nameLength, name.length, () => `the name ${JSON.stringify(name.slice(0, 40))}…`);
}

/** @throws LIMIT_EXCEEDED */
export function checkSize(token: Token, what: () => string, limits: ConversationLimits): void {
  // Counting bytes costs more than counting characters, and three bytes a character is the most there can be.
  if (token.length * 3 <= limits.valueBytes) return;
  exceeds('valueBytes', limits.valueBytes, Buffer.byteLength(token), what);
}

function exceeds(limit: keyof ConversationLimits, max: number, actual: number, what: () => string): void {
  if (actual <= max) return;
  throw new AgentUpError('LIMIT_EXCEEDED', `${what()} exceeds the limit ${limit}: ${actual} of at most ${max}`, {
    limit,
    max,
    actual,
  });
}
