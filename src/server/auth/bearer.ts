import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify } from 'jose';
import type { SecurityConfig } from '../../config/index.js';
import { AgentUpError } from '../../errors.js';
import type { Authenticator } from './authenticator.js';

type BearerConfig = NonNullable<SecurityConfig['bearer']>;

/** What an issuer may sign with; a secret only with HS256, so that no public key is ever taken for one. */
const ASYMMETRIC = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
/** Seconds that two clocks may be apart. */
const CLOCK_TOLERANCE = 30;

/** Checks JSON Web Tokens: signature, times, issuer and audience. */
export function bearerAuthenticator(config: BearerConfig): Authenticator {
  const { secret, jwks_url, issuer, audience, user_claim, tenant_claim } = config;
  const options = {
    algorithms: secret === undefined ? ASYMMETRIC : ['HS256'],
    clockTolerance: CLOCK_TOLERANCE,
    // A token that never ends cannot be taken back.
    requiredClaims: ['exp'],
    ...(issuer !== undefined && { issuer }),
    ...(audience !== undefined && { audience }),
  };
  const verify = verifier(secret, jwks_url);
  return async ({ authorization }) => {
    const token = /^Bearer +([\w.~+/-]+=*) *$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) {
      throw new AgentUpError('UNAUTHENTICATED', 'the request carries no bearer token', {
        fix: 'send it as Authorization: Bearer …',
      });
    }
    const payload = await claims(() => verify(token, options));
    return {
      userId: text(payload, user_claim),
      tenantId: tenant_claim === undefined ? undefined : text(payload, tenant_claim),
    };
  };
}

type Verify = (token: string, options: Parameters<typeof jwtVerify>[2]) => Promise<{ payload: JWTPayload }>;

function verifier(secret: string | undefined, url: string | undefined): Verify {
  if (secret !== undefined) {
    const key = new TextEncoder().encode(secret);
    return (token, options) => jwtVerify(token, key, options);
  }
  const keys = createRemoteJWKSet(new URL(url ?? ''), { timeoutDuration: 5000 });
  return async (token, options) => {
    try {
      return await jwtVerify(token, keys, options);
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
      return withAnyOf(error, token, options);
    }
  };
}

/** An issuer need not say in a token which of its keys it signed with: the one that fits is it. */
async function withAnyOf(
  fitting: errors.JWKSMultipleMatchingKeys,
  token: string,
  options: Parameters<Verify>[1],
): ReturnType<Verify> {
  for await (const key of fitting) {
    try {
      return await jwtVerify(token, key, options);
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
    }
  }
  throw new errors.JWSSignatureVerificationFailed();
}

async function claims(verify: () => Promise<{ payload: JWTPayload }>): Promise<JWTPayload> {
  try {
    return (await verify()).payload;
  } catch (cause) {
    const refused = cause instanceof errors.JOSEError && !UNREACHABLE.has(cause.code);
    throw refused
      ? new AgentUpError('UNAUTHENTICATED', 'the token is not valid', { cause })
      : new AgentUpError('AUTH_UNAVAILABLE', 'the keys that tokens are checked with cannot be fetched', { cause });
  }
}

/** The issuer's keys could not be had: that says nothing about the token. */
const UNREACHABLE: ReadonlySet<string> = new Set(['ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID', 'ERR_JOSE_GENERIC']);

function text(payload: JWTPayload, claim: string): string {
  const value = payload[claim];
  if (typeof value === 'string' && value !== '') return value;
  throw new AgentUpError('UNAUTHENTICATED', `the token has no claim ${claim}`);
}
