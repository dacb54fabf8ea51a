import type { SecurityConfig } from '../../config/index.js';
import { AgentUpError } from '../../errors.js';
import type { Identity } from '../identity.js';
import type { Authenticator } from './authenticator.js';
import { keyRing } from './key-ring.js';

/** The header that carries the key. */
export const API_KEY_HEADER = 'x-api-key';

/** Knows callers by their keys. */
export function apiKeyAuthenticator(keys: SecurityConfig['api_keys']): Authenticator {
  const find = keyRing(keys, ({ user, tenant }): Identity => ({ userId: user, tenantId: tenant }));
  return (headers) => {
    const given = headers[API_KEY_HEADER];
    if (typeof given !== 'string' || given === '') {
      throw new AgentUpError('UNAUTHENTICATED', 'the request carries no API key', { fix: 'send it as X-API-Key' });
    }
    const found = find(given);
    if (found) return found;
    throw new AgentUpError('UNAUTHENTICATED', 'the API key is not known');
  };
}
