import { createCipheriv, createDecipheriv, createHmac, randomFillSync } from 'node:crypto';
import { AgentUpError } from '../../errors.js';
import { isSealed, SEALED, type Token } from '../../json.js';
import type { RecordKey } from '../keys.js';
import { shownField } from '../shown-field.js';
import { type EncryptionOptions, keyId, parseKey } from './encryption-key.js';

const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const ID_LENGTH = 8;
const BODY = SEALED.length + ID_LENGTH + 1;
/** Keys of records that are kept at hand. */
const MAX_DERIVED = 1_000;

/** Which value of a record it is: it opens nowhere else. */
export type Place =
  | { readonly field: string }
  | { readonly reply: string }
  /** Entries move when a cap drops older ones, so their position is no part of it. */
  | 'log';

/**
 * Encrypts tokens with AES-256-GCM and opens them. An encrypted token is the JSON text of
 * `\u0001enc1.<key id>.<nonce, tag and ciphertext in base64url>`.
 *
 * Each record has a key of its own, made of the configured one: a nonce is drawn at random, and one key must not meet
 * the same one twice, which would become likely after some billions of values of all records together.
 */
export class TokenCipher {
  readonly #current: MasterKey;
  readonly #keys: ReadonlyMap<string, MasterKey>;
  readonly #allowClear: boolean;

  /** @throws INVALID_ARGUMENT when a key is not one */
  constructor({ key, previous = [], allowClear = false }: EncryptionOptions) {
    this.#current = new MasterKey(parseKey(key));
    const older = previous.map((text, i) => new MasterKey(parseKey(text, `encryption.previous[${i}]`)));
    this.#keys = new Map([...older, this.#current].map((one) => [one.id, one]));
    this.#allowClear = allowClear;
  }

  /** @param text `keyText` of the record */
  seal(text: string, place: Place, token: Token): Token {
    const master = this.#current;
    const nonce = nextNonce();
    const cipher = createCipheriv(ALGORITHM, master.of(text), nonce);
    cipher.setAAD(associated(text, place));
    const body = cipher.update(token, 'utf8');
    cipher.final();
    return `${SEALED}${master.id}.${Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64url')}"`;
  }

  /** @throws KEY_MISSING, DECRYPTION_FAILED, VALUE_NOT_ENCRYPTED */
  open(key: RecordKey, text: string, place: Place, token: Token): Token {
    if (!isSealed(token)) {
      if (this.#allowClear) return token;
      throw failure('VALUE_NOT_ENCRYPTED', 'was stored in clear, and encryption is on', key, place, CLEAR_FIX);
    }
    const id = idOf(token);
    const master = this.#keys.get(id);
    if (!master) {
      const fix = `add the key with the id ${id} to state.encryption.previous, or correct state.encryption.key`;
      throw failure('KEY_MISSING', `is encrypted with the key ${id}, which is not configured`, key, place, fix);
    }
    const bytes = Buffer.from(token.slice(BODY, -1), 'base64url');
    try {
      const decipher = createDecipheriv(ALGORITHM, master.of(text), bytes.subarray(0, NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(associated(text, place));
      decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
      return decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
    } catch {
      const fix = 'restore it from a backup; it was changed, or moved here from another record or field';
      throw failure('DECRYPTION_FAILED', `does not open with the key ${id} that it names`, key, place, fix);
    }
  }

  /**
   * An integer that tells nobody anything, for a storage that can only keep a sum as what it is: shifted by a number
   * that only the key and `salt` give. A salt is for one
   * integer that comes to rest: two hidden with the same tell their difference.
   */
  hide(text: string, salt: string, value: number): number {
    return shift(value, this.#current.of(text), salt, 1n);
  }

  /** The integer behind `hide`. @param number the `number` of the cipher that hid it */
  reveal(text: string, salt: string, hidden: number, number: number): number {
    for (const master of this.#keys.values()) {
      if (master.number === number) return shift(hidden, master.of(text), salt, -1n);
    }
    throw new AgentUpError(
      'KEY_MISSING',
      'a commit that is sent again was answered under a key that is not configured',
    );
  }

  /** Stands for the key that is used now. */
  get number(): number {
    return this.#current.number;
  }

  /** Was it encrypted with the key that is used now? */
  isCurrent(token: Token): boolean {
    return isSealed(token) && idOf(token) === this.#current.id;
  }
}

/** A configured key, and those of records that were made of it lately. */
class MasterKey {
  readonly id: string;
  /** The id as an integer. */
  readonly number: number;
  readonly #bytes: Buffer;
  readonly #derived = new Map<string, Buffer>();

  constructor(bytes: Buffer) {
    this.id = keyId(bytes);
    this.number = Buffer.from(this.id, 'base64url').readUIntBE(0, 6);
    this.#bytes = bytes;
  }

  /** The key of a record: HKDF's expansion (RFC 5869), of a key that is uniformly random already. */
  of(text: string): Buffer {
    let key = this.#derived.get(text);
    if (key) return key;
    key = createHmac('sha256', this.#bytes).update(`agentup record\0${text}\u0001`).digest();
    if (this.#derived.size >= MAX_DERIVED) this.#derived.delete(this.#derived.keys().next().value as string);
    this.#derived.set(text, key);
    return key;
  }
}

const CLEAR_FIX = 'run `agentup state reencrypt`, or set state.encryption.allow_clear for the time of the change';

/** Drawn many at a time, as a call into the system costs more than a cipher. */
const pool = Buffer.alloc(NONCE_BYTES * 512);
let drawn = pool.length;

function nextNonce(): Buffer {
  if (drawn === pool.length) {
    randomFillSync(pool);
    drawn = 0;
  }
  drawn += NONCE_BYTES;
  return pool.subarray(drawn - NONCE_BYTES, drawn);
}

const MAX = BigInt(Number.MAX_SAFE_INTEGER);
const INTEGERS = 2n * MAX + 1n;

/** Moves an integer round the circle of all exact ones. */
function shift(value: number, key: Uint8Array, salt: string, direction: 1n | -1n): number {
  const digest = createHmac('sha256', key).update(`sum\0${salt}`).digest('hex');
  const moved = (BigInt(value) + MAX + direction * BigInt(`0x${digest}`)) % INTEGERS;
  return Number((moved < 0n ? moved + INTEGERS : moved) - MAX);
}

function idOf(token: Token): string {
  return token.slice(SEALED.length, SEALED.length + ID_LENGTH);
}

/** No key text holds a line break, so no two places have the same bytes. */
function associated(text: string, place: Place): Buffer {
  return Buffer.from(`${text}\n${placeText(place)}`);
}

function placeText(place: Place): string {
  if (typeof place === 'string') return place;
  return 'field' in place ? `field ${place.field}` : `reply ${place.reply}`;
}

function failure(
  code: 'KEY_MISSING' | 'DECRYPTION_FAILED' | 'VALUE_NOT_ENCRYPTED',
  what: string,
  { space, id }: RecordKey,
  place: Place,
  fix: string,
): AgentUpError {
  const field = typeof place === 'object' && 'field' in place ? place.field : undefined;
  const which = field === undefined ? `a value of the ${place === 'log' ? 'log' : 'record'}` : shownField(field);
  return new AgentUpError(code, `${which} in ${JSON.stringify(id)} ${what}`, {
    space,
    recordId: id,
    ...(field !== undefined && { field }),
    fix,
  });
}
