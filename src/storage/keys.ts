import { AgentUpError } from '../errors.js';

/**
 * Names one record. `space` is ours (`contexts`, `users`, …: lower-case letters, digits, `-`); `scope` and `id`
 * come from users and may hold any text. `scope` is the container that is listed and cleaned together
 * (nothing, or a tenant, or tenant and user), `id` the record in it.
 */
export interface RecordKey {
  readonly space: string;
  readonly scope: readonly string[];
  readonly id: string;
}

/** Longest `scope` part or `id`, in characters. */
export const MAX_ID_LENGTH = 1024;

const SPACE = /^[a-z0-9-]+$/;
const SAFE = /^[a-z0-9_-]*$/;
const CODES = Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  return SAFE.test(character) ? character : `%${byte.toString(16).padStart(2, '0')}`;
});

/** Whether a text can be the name of a space. */
export function isSpace(text: string): boolean {
  return SPACE.test(text);
}

/** Refuses what is not the name of a space. */
export function checkSpace(space: unknown): asserts space is string {
  if (typeof space !== 'string' || !SPACE.test(space)) {
    throw new AgentUpError(
      'INVALID_ARGUMENT',
      `${typeof space === 'string' ? JSON.stringify(space) : typeof space} is not a space: lower-case letters, digits, -`,
      { argument: 'space' },
    );
  }
}

/** ES2024, which Node 20 has and the compiler's library for ES2023 has not. */
type WellFormed = string & { isWellFormed(): boolean };

/** Is there no lone surrogate in it? UTF-8, and so a key, has no form of one. */
export function isWellFormed(text: string): boolean {
  return (text as WellFormed).isWellFormed();
}

/** Refuses what no key can be made of. `argument` names it in the error. */
export function checkId(text: unknown, argument: string): asserts text is string {
  if (typeof text !== 'string') {
    // Platforms number their chats and users.
    const fix = typeof text === 'number' || typeof text === 'bigint' ? { fix: 'write String() of it' } : {};
    throw new AgentUpError('INVALID_ARGUMENT', `${argument} must be a string, not ${typeof text}`, {
      argument,
      ...fix,
    });
  }
  if (text === '') throw new AgentUpError('INVALID_ARGUMENT', `${argument} is empty`, { argument });
  if (text.length > MAX_ID_LENGTH) {
    throw new AgentUpError(
      'LIMIT_EXCEEDED',
      `${argument} has ${text.length} characters; at most ${MAX_ID_LENGTH} are allowed`,
      { argument, limit: 'idLength', max: MAX_ID_LENGTH, actual: text.length },
    );
  }
  if (!isWellFormed(text)) {
    throw new AgentUpError('INVALID_ARGUMENT', `${argument} holds a lone surrogate, which no key can hold`, {
      argument,
    });
  }
}

/**
 * Any text in the alphabet `[a-z0-9_%-]`: every other byte of its UTF-8 form is `%xx` in lower-case hex.
 * Upper case is encoded too, so that file systems which fold case or normalise Unicode merge nothing, and
 * `/`, `..`, `:`, `*`, NUL disappear. Keeps prefixes: the code of a prefix is a prefix of the code.
 */
export function encodeName(text: string): string {
  if (SAFE.test(text)) return text;
  let out = '';
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    // Making bytes of a text takes five times as long as all of this.
    if (code > 127) return encodeBytes(text);
    out += CODES[code];
  }
  return out;
}

function encodeBytes(text: string): string {
  let out = '';
  for (const byte of Buffer.from(text)) out += CODES[byte];
  return out;
}

/** The text behind `encodeName`. */
export function decodeName(name: string): string {
  return decodeURIComponent(name);
}

/** The container of a key, as text: `space/scope/scope`. Equal for equal containers only. */
export function containerText(key: Pick<RecordKey, 'space' | 'scope'>): string {
  return key.scope.length === 0 ? key.space : `${key.space}/${key.scope.map(encodeName).join('/')}`;
}

/** A key as text, equal for equal keys only: `space/scope/scope/:id`; every part is encoded. */
export function keyText(key: RecordKey): string {
  return `${containerText(key)}/:${encodeName(key.id)}`;
}

/** The key behind `keyText`. */
export function keyOfText(text: string): RecordKey {
  const end = text.indexOf('/:');
  const [space = '', ...scope] = text.slice(0, end).split('/');
  return { space, scope: scope.map(decodeName), id: decodeName(text.slice(end + 2)) };
}

/** What `keyRange` selects keys by; a `ListQuery` is one. */
interface KeyFilter {
  readonly space: string;
  readonly scope?: readonly string[];
  readonly prefix?: string;
  readonly after?: string;
}

/**
 * Where the keys of a space lie among all key texts, or those of a container, or those whose id there begins with
 * `prefix`, or come after `after`, itself included: from `from` to `to`, which is no key itself. For stores that keep
 * their keys sorted. Without a scope the prefix does not narrow it.
 */
export function keyRange({ space, scope, prefix = '', after }: KeyFilter): { from: string; to: string } {
  const ids = scope && `${containerText({ space, scope })}/:`;
  const all = ids === undefined ? `${space}/` : ids + encodeName(prefix);
  let from = all;
  if (ids !== undefined && after !== undefined && ids + encodeName(after) > from) from = ids + encodeName(after);
  // No character of a key text comes after `~`.
  return { from, to: `${all}~` };
}
