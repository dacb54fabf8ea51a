import type { IncomingHttpHeaders } from 'node:http';
import type { SecurityConfig } from '../../config/index.js';
import { ANONYMOUS, type Identity } from '../identity.js';
import { API_KEY_HEADER, apiKeyAuthenticator } from './api-keys.js';
import { bearerAuthenticator } from './bearer.js';

/**
 * Tells from its headers who sent a request.
 * @throws UNAUTHENTICATED
 */
export type Authenticator = (headers: IncomingHttpHeaders) => Identity | Promise<Identity>;

/** The header that it looks at; `undefined`: at none. */
export function credentialHeaderOf({ auth }: SecurityConfig): string | undefined {
  if (auth === 'none') return undefined;
  return auth === 'bearer' ? 'authorization' : API_KEY_HEADER;
}

/** The one that `security.auth` names. */
export function authenticatorOf({ auth, api_keys, bearer }: SecurityConfig): Authenticator {
  if (auth === 'api_key') return apiKeyAuthenticator(api_keys);
  if (auth === 'bearer' && bearer) return bearerAuthenticator(bearer);
  return () => ANONYMOUS;
}
