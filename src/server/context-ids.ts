import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { decode, encode } from '../json.js';
import type { StateStorage } from '../storage/state-storage.js';

const KEY = { space: 'server', scope: [], id: 'context-ids' };
/** Characters of the mark: 96 bits. */
const MARK = 16;

/**
 * Context ids that nobody can guess or make up: each carries a mark made with a secret. The secret lies in the
 * agent's storage, so that all its processes know each other's ids, and after a restart still do.
 */
export class ContextIds {
  readonly #secret: Buffer;

  private constructor(secret: Buffer) {
    this.#secret = secret;
  }

  /** @throws STORAGE_UNAVAILABLE */
  static async over(storage: StateStorage): Promise<ContextIds> {
    const fresh = encode(randomBytes(32).toString('base64url'));
    const made = await storage.commit(KEY, [{ op: 'set', field: 'secret', value: fresh }], {
      condition: { fields: new Map([['secret', undefined]]) },
      expiry: { set: 'none' },
    });
    const secret = made.committed ? fresh : (made.record?.fields.get('secret') ?? fresh);
    return new ContextIds(Buffer.from(decode<string>(secret), 'base64url'));
  }

  make(): string {
    const id = randomBytes(16).toString('base64url');
    return `${id}.${this.#mark(id)}`;
  }

  /** Did one of the agent's processes make it? */
  made(contextId: string): boolean {
    const [id = '', mark = '', ...more] = contextId.split('.');
    if (more.length > 0 || mark.length !== MARK) return false;
    const given = Buffer.from(mark);
    const right = Buffer.from(this.#mark(id));
    return given.length === right.length && timingSafeEqual(given, right);
  }

  #mark(id: string): string {
    return createHmac('sha256', this.#secret).update(id).digest('base64url').slice(0, MARK);
  }
}
