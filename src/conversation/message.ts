import { type Clock, toIso } from '../clock.js';
import { AgentUpError } from '../errors.js';
import { decode, encodeNamed, encodeStored, type JsonValue, type Token } from '../json.js';

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

/** A fresh message for each stored one. @throws KEY_MISSING */
export function decodeMessages<Content>(tokens: readonly Token[]): Message<Content>[] {
  return tokens.map((token) => (plainMessage(token) ?? decode(token)) as Message<Content>);
}

interface Opening {
  readonly role: Role;
  readonly head: string;
}
/** By the initial of the role, which is where `INITIAL` says. */
const OPENINGS = new Map<number, Opening>();
for (const role of ROLES.values()) OPENINGS.set(role.charCodeAt(0), { role, head: `{"role":"${role}","content":"` });
const INITIAL = '{"role":"'.length;
const BETWEEN = '","timestamp":"';
const END = '"}';
const BRACE = 125;
const AFTER_TEXT = BETWEEN.length + '2026-01-01T00:00:00.000Z'.length + END.length;

/**
 * The message in a token as `encodeMessage` makes it of a text without anything to escape, as most are: a quarter of
 * what `JSON.parse` takes. `undefined` for any other.
 */
function plainMessage(token: Token): Message | undefined {
  const opening = OPENINGS.get(token.charCodeAt(INITIAL));
  if (!opening) return undefined;
  const { role, head } = opening;
  const start = head.length;
  const end = token.length - AFTER_TEXT;
  // `startsWith` is several times as slow.
  if (token.slice(0, start) !== head || token.indexOf('"', start) !== end || token.indexOf('\\', start) >= 0) {
    return undefined;
  }
  const at = end + BETWEEN.length;
  const until = token.length - END.length;
  if (token.slice(end, at) !== BETWEEN || token.indexOf('"', at) !== until || token.charCodeAt(until + 1) !== BRACE) {
    return undefined;
  }
  return { role, content: token.slice(start, end), timestamp: token.slice(at, until) };
}
