import { type Clock, toIso } from '../clock.js';
import { AgentUpError } from '../errors.js';
import { decode, encodeNamed, encodeStored, type JsonValue, refuseSealed, type Token } from '../json.js';

/** Who said it. */
export type Role = 'user' | 'assistant' | 'system' | 'tool';

/** `agent` and `bot` are other systems' words for `assistant`, and are stored as that. */
export type RoleInput = Role | 'agent' | 'bot';

/** One entry of a conversation's history. */
export interface Message<Content = string> {
  readonly role: Role;
  readonly content: Content;
  /** ISO 8601, UTC. */
  readonly timestamp: string;
  readonly metadata?: { readonly [name: string]: JsonValue };
}

const ROLES = new Map<string, Role>([
  ['user', 'user'],
  ['assistant', 'assistant'],
  ['system', 'system'],
  ['tool', 'tool'],
  ['agent', 'assistant'],
  ['bot', 'assistant'],
]);

const CONTENT = { what: () => 'the content of the message', as: encodeStored };
const METADATA = { what: () => 'the metadata of the message', as: encodeStored };

/** The stored form of a message said now. @throws INVALID_ARGUMENT, VALUE_NOT_JSON */
export function encodeMessage(role: RoleInput, content: JsonValue, metadata: unknown, clock: Clock): Token {
  const known = ROLES.get(role);
  if (!known) {
    throw new AgentUpError('INVALID_ARGUMENT', `role is ${JSON.stringify(role)}; use user, assistant, system or tool`, {
      argument: 'role',
      fix: "write addToHistory(contextId, 'user', content)",
    });
  }
  if (metadata !== undefined && (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata))) {
    throw new AgentUpError('INVALID_ARGUMENT', 'the metadata of a message is an object', { argument: 'metadata' });
  }
  const tail = metadata === undefined ? '' : `,"metadata":${encodeNamed(metadata, METADATA)}`;
  return `{"role":"${known}","content":${encodeNamed(content, CONTENT)},"timestamp":"${toIso(clock.now())}"${tail}}`;
}

/** A fresh message for each stored one. */
export function decodeMessages<Content>(tokens: readonly Token[]): Message<Content>[] {
  refuseSealed(tokens);
  // One long text is read faster than many short ones.
  return decode<Message<Content>[]>(`[${tokens.join(',')}]`);
}
