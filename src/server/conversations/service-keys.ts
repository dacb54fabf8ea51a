import { createHash, timingSafeEqual } from 'node:crypto';
import type { ConversationsConfig } from '../../config/index.js';
import { ApiError } from './api-error.js';

/** The header that carries the key. */
export const SERVICE_KEY_HEADER = 'x-service-api-key';

/** What a key may do. */
export interface ServiceKey {
  /** Tells keys apart without showing them. */
  readonly id: string;
  /** `*`: every sub-domain. */
  readonly subDomains: readonly string[];
}

/** Finds a key among those that are configured; always compares with all. @throws UNAUTHENTICATED */
export function serviceKeys({ api_keys }: ConversationsConfig): (given: string | undefined) => ServiceKey {
  const known = api_keys.map(({ key, key_sha256, sub_domains }) => {
    const digest = key_sha256 === undefined ? sha256(key ?? '') : Buffer.from(key_sha256, 'hex');
    return { digest, key: { id: digest.toString('hex').slice(0, 12), subDomains: sub_domains } };
  });
  return (given) => {
    const digest = sha256(given ?? '');
    let found: ServiceKey | undefined;
    for (const { digest: candidate, key } of known) if (timingSafeEqual(candidate, digest)) found = key;
    if (found && given) return found;
    throw new ApiError(401, 'UNAUTHENTICATED', given ? 'The API key is not known.' : 'The request carries no API key.');
  };
}

export function maySee({ subDomains }: ServiceKey, subDomain: string): boolean {
  return subDomains.includes('*') || subDomains.includes(subDomain);
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
