import { createHash } from 'node:crypto';
import { AgentUpError } from '../../errors.js';

/** What values are encrypted with. Keys are 32 bytes as base64, base64url or hexadecimal text. */
export interface EncryptionOptions {
  /** Encrypts what is written. */
  readonly key: string;
  /** Keys that were used before: what they encrypted can still be read. */
  readonly previous?: readonly string[] | undefined;
  /**
   * Values that were stored in clear are read, and become encrypted when they are written. Default false: they are
   * the error VALUE_NOT_ENCRYPTED, as whoever can write to the store could otherwise slip values in.
   */
  readonly allowClear?: boolean | undefined;
}

/** Bytes of a key. */
const KEY_BYTES = 32;
const FORMS: readonly [RegExp, BufferEncoding][] = [
  [/^[0-9a-fA-F]{64}$/, 'hex'],
  [/^[A-Za-z0-9+/]{43}=?$/, 'base64'],
  [/^[A-Za-z0-9_-]{43}=?$/, 'base64url'],
];

/**
 * The bytes of a key. A passphrase is no key: people choose guessable ones, and a copy of the store can be tried
 * against a list of them.
 * @throws INVALID_ARGUMENT, without the text
 */
export function parseKey(text: unknown, argument = 'encryption.key'): Buffer {
  const form = typeof text === 'string' ? FORMS.find(([pattern]) => pattern.test(text)) : undefined;
  const bytes = form && Buffer.from(text as string, form[1]);
  if (bytes?.length === KEY_BYTES) return bytes;
  throw new AgentUpError('INVALID_ARGUMENT', `${argument} is not a key: 32 bytes as base64 or hexadecimal text`, {
    argument,
    fix: 'make one with `openssl rand -base64 32`',
  });
}

/** What tells one key from another, and nothing about it: it stands beside every value. */
export function keyId(key: Uint8Array): string {
  return createHash('sha256').update('agentup key id\0').update(key).digest('base64url').slice(0, 8);
}
