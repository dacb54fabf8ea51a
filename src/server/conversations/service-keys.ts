import type { ConversationsConfig } from '../../config/index.js';
import { keyRing } from '../auth/key-ring.js';
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

/** Finds a key among those that are configured. @throws UNAUTHENTICATED */
export function serviceKeys({ api_keys }: ConversationsConfig): (given: string | undefined) => ServiceKey {
  const find = keyRing(api_keys, ({ sub_domains }, id): ServiceKey => ({ id, subDomains: sub_domains }));
  return (given = '') => {
    const found = find(given);
    if (found) return found;
    throw new ApiError(
      401,
      'UNAUTHENTICATED',
      given === '' ? 'The request carries no API key.' : 'The API key is not known.',
    );
  };
}

export function maySee({ subDomains }: ServiceKey, subDomain: string): boolean {
  return subDomains.includes('*') || subDomains.includes(subDomain);
}
