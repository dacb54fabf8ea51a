import { AgentUpError, isAgentUpError } from './errors.js';

/** What can be stored: JSON, nothing else. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

/**
 * The stored form of one value: its JSON text, without white space, `-0` as `-0`.
 * Storages keep tokens as they are and never look inside, apart from integers and the brackets of a list.
 */
export type Token = string;

const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;

/** What to store in place of what is no JSON, by its class. */
const STAND_INS: Readonly<Record<string, string>> = {
  Date: 'store what its toISOString() gives',
  Map: 'store Object.fromEntries() of it',
  Set: 'store an array of its values',
  Promise: 'await it first',
  Buffer: "store what its toString('base64') gives",
  URL: 'store its href',
};

function refuse(path: readonly (string | number)[], what: string, fix?: string): never {
  const where = `$${path
    .map((step) =>
      typeof step === 'number' ? `[${step}]` : IDENTIFIER.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`,
    )
    .join('')}`;
  throw new AgentUpError('VALUE_NOT_JSON', `${where} is ${what}, which JSON cannot hold`, {
    path: where,
    ...(fix !== undefined && { fix }),
  });
}

/** Texts without anything to escape, which most are: to see that costs half of what `JSON.stringify` does. */
const PLAIN_TEXT = /^[ !#-[\]-\ud7ff\ue000-\uffff]*$/;

/** Deeper nesting than this is refused: it would overflow the stack of some reader. */
const MAX_DEPTH = 500;

/** Throws where JSON.stringify would drop, change or choke; says whether a `-0` is in there. */
function inspect(value: unknown, path: (string | number)[], above: object[]): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return false;
    case 'number':
      if (!Number.isFinite(value)) refuse(path, String(value));
      return value === 0 && Object.is(value, -0);
    case 'object':
      break;
    default:
      if (value === undefined) return refuse(path, 'undefined', 'leave it out, or store null');
      return refuse(path, `a ${typeof value}`, typeof value === 'bigint' ? 'store String() of it' : undefined);
  }
  if (value === null) return false;
  if (above.includes(value)) refuse(path, 'a cycle');
  if (above.length >= MAX_DEPTH) refuse(path, `nested deeper than ${MAX_DEPTH} levels`);
  above.push(value);
  let negativeZero = false;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      path.push(index);
      if (!(index in value)) refuse(path, 'a hole in an array');
      if (inspect(value[index], path, above)) negativeZero = true;
      path.pop();
    }
    if (Object.keys(value).length !== value.length) refuse(path, 'an array with named properties');
    refuseInstance(value, isPlainArray(value), path);
  } else {
    refuseInstance(value, isPlainObject(value), path);
    for (const name of Object.keys(value)) {
      path.push(name);
      if (inspect((value as Record<string, unknown>)[name], path, above)) negativeZero = true;
      path.pop();
    }
  }
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function') refuse(path, 'an object with a toJSON method');
  if (Object.getOwnPropertySymbols(value).length > 0) refuse(path, 'an object with a symbol property');
  above.pop();
  return negativeZero;
}

function refuseInstance(value: object, plain: boolean, path: readonly (string | number)[]): void {
  if (plain) return;
  const name: unknown = (value as { constructor?: { name?: unknown } }).constructor?.name;
  const known = typeof name === 'string' && name !== '' ? name : undefined;
  const standIn = known !== undefined && Object.hasOwn(STAND_INS, known) ? STAND_INS[known] : undefined;
  refuse(path, `an instance of ${known ?? 'a class'}`, standIn ?? 'store a plain object with its fields');
}

// An object of another realm (vm, worker) has foreign prototypes, so they are told by their own prototypes.

function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

function isPlainArray(value: object): boolean {
  const prototype: object | null = Object.getPrototypeOf(value);
  if (prototype === Array.prototype) return true;
  return prototype !== null && !isPlainObject(value) && isPlainObject(prototype);
}

function write(value: unknown): string {
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(write).join(',')}]`;
  return `{${Object.entries(value)
    .map(([name, item]) => `${JSON.stringify(name)}:${write(item)}`)
    .join(',')}}`;
}

/** What the text in an encrypted token begins with, and such a token itself. No other token begins like it. */
const SEALED_TEXT = '\u0001enc1.';
export const SEALED = '"\\u0001enc1.';

/** Is this an encrypted value? */
export function isSealed(token: Token): boolean {
  return token.charCodeAt(1) === 92 && token.startsWith(SEALED);
}

/**
 * The token of a value.
 * @throws VALUE_NOT_JSON naming the path, for anything that would not come back equal.
 */
export function encode(value: unknown): Token {
  // Or whoever can write a text could make one that nobody can read.
  if (typeof value === 'string' && value.charCodeAt(0) === 1 && value.startsWith(SEALED_TEXT)) {
    refuse([], 'a text that begins like an encrypted value');
  }
  return encodeStored(value);
}

/** The same for a part of a token, and for what a storage has parsed: where a text may begin as it likes. */
export function encodeStored(value: unknown): Token {
  if (typeof value === 'string') return PLAIN_TEXT.test(value) ? `"${value}"` : JSON.stringify(value);
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  return inspect(value, [], []) ? write(value) : JSON.stringify(value);
}

/**
 * The token of a value; where it has none, the error says what it would have been of.
 * @param field the same for programs, where it has a name
 * @throws VALUE_NOT_JSON
 */
export function encodeNamed(
  value: unknown,
  { what, field, as = encode }: { what: () => string; field?: () => string; as?: (value: unknown) => Token },
): Token {
  try {
    return as(value);
  } catch (error) {
    if (!isAgentUpError(error, 'VALUE_NOT_JSON')) throw error;
    const { message, details } = error;
    const said = message.startsWith('$ ') ? message.slice(1) : `: ${message}`;
    throw new AgentUpError('VALUE_NOT_JSON', `${what()}${said}`, { ...details, ...(field && { field: field() }) });
  }
}

/** A fresh value for a token. @throws KEY_MISSING when it is encrypted: whoever has the key opens it before */
export function decode<T = unknown>(token: Token): T {
  if (isSealed(token)) throw sealedError();
  return JSON.parse(token) as T;
}

/** Refuses an encrypted token, for those who do not decode it. @throws KEY_MISSING */
export function refuseSealed(token: Token): void {
  if (isSealed(token)) throw sealedError();
}

function sealedError(): AgentUpError {
  return new AgentUpError('KEY_MISSING', 'this value is encrypted, and no key is configured', {
    argument: 'encryption',
    fix: 'set state.encryption.key to the key that the storage was written with',
  });
}

/** The integer a token holds, or `undefined` where it holds anything else (`"7"`, `1.5`, `-0`). */
export function integerOf(token: Token): number | undefined {
  if (!/^(0|-?[1-9]\d{0,15})$/.test(token)) return undefined;
  const value = Number(token);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** The token of a list token with one more item. The caller has made sure that it is a list (`[`). */
export function appendToken(list: Token, item: Token): Token {
  return list === '[]' ? `[${item}]` : `${list.slice(0, -1)},${item}]`;
}
