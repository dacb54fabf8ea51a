import { createHash, timingSafeEqual } from 'node:crypto';
import type { SecurityConfig } from '../../config/index.js';
import { AgentUpError } from '../../errors.js';
import type { Identity } from '../identity.js';
import type { Authenticator } from './authenticator.js';

/** The header that carries the key. */
export const API_KEY_HEADER = 'x-api-key';

/** Compares the key with every one that is known, always all of them, so that the time taken tells nothing. */
export function apiKeyAuthenticator(keys: SecurityConfig['api_keys']): Authenticator {
  const known = keys.map(({ key, key_sha256, user, tenant }) => ({
    digest: key_sha256 === undefined ? sha256(key ?? '') : Buffer.from(key_sha256, 'hex'),
    identity: { userId: user, tenantId: tenant } satisfies Identity,
  }));
  return (headers) => {
    const given = headers[API_KEY_HEADER];
    if (typeof given !== 'string' || given === '') {
      throw new AgentUpError('UNAUTHENTICATED', 'the request carries no API key', { fix: 'send it as X-API-Key' });
    }
    const digest = sha256(given);
    let found: Identity | undefined;
    for (const { digest: candidate, identity } of known) {
      if (timingSafeEqual(candidate, digest)) found = identity;
    }
    if (found) return found;
    throw new AgentUpError('UNAUTHENTICATED', 'the API key is not known');
  };
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
