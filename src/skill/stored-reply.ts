import { AgentUpError, isAgentUpError } from '../errors.js';
import { decode, encode, type Token } from '../json.js';
import { REPLY_NOT_KEPT } from '../storage/state-storage.js';
import { collectionsInJson } from './collections-in-json.js';

/**
 * What is stored of a handler's reply, to answer a redelivery with: the reply in its JSON form, as it would go over
 * a wire. `undefined` members are left out, and what has a `toJSON` is what that returns.
 * @param maxBytes of a larger one, as of one that JSON cannot hold, only the fact is kept
 */
export function encodeReply(reply: unknown, maxBytes: number): Token {
  const token = reply === undefined ? '[]' : `[${jsonOf(reply) ?? ''}]`;
  if (token === '[]' && reply !== undefined) return REPLY_NOT_KEPT;
  return Buffer.byteLength(token) > maxBytes ? REPLY_NOT_KEPT : token;
}

/** Could the reply be kept? */
export function isKept(token: Token): boolean {
  return token !== REPLY_NOT_KEPT;
}

/** The reply behind `encodeReply`. @throws REPLY_NOT_KEPT */
export function decodeReply(token: Token, contextId: string): unknown {
  if (isKept(token)) return decode<unknown[]>(token)[0];
  throw new AgentUpError('REPLY_NOT_KEPT', 'this message was handled before, and its reply could not be kept', {
    contextId,
    fix: 'return something that JSON can hold, or set `dedupe: false` on the handler; of a reply that was encrypted, keep the key',
  });
}

function jsonOf(value: unknown): Token | undefined {
  try {
    return encode(value);
  } catch (error) {
    if (!isAgentUpError(error, 'VALUE_NOT_JSON')) throw error;
  }
  try {
    return JSON.stringify(value, refuseForeign);
  } catch {
    return undefined;
  }
}

/** `JSON.stringify` makes an empty object of a stream: such a reply must not come back as one. */
function refuseForeign(name: string, given: unknown): unknown {
  const value = collectionsInJson(name, given);
  const kind = typeof value;
  if (kind === 'function' || kind === 'symbol' || (kind === 'number' && !Number.isFinite(value))) throw new TypeError();
  if (kind !== 'object' || value === null || Array.isArray(value)) return value;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) throw new TypeError();
  return value;
}
