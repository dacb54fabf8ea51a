import KeyvRedis from '@keyv/redis';
import Keyv from 'keyv';
import { type Listing, VALKEY_LISTING } from '../listings/listing.js';
import { newSession, type Session } from '../session.js';

/** Iterating is what it offers. It knows no times, so it cannot remove the oldest. */
const keyv: Listing = {
  name: 'keyv, @keyv/redis: iterator, filtered',
  kind: 'valkey',
  floor: VALKEY_LISTING,
  async open({ url }) {
    const store = new Keyv<Session>({ store: new KeyvRedis(url), namespace: 'keyv-list' });
    return {
      add: async (id, owner) => {
        await store.set(`${owner}:${id}`, newSession(2));
      },
      listOwner: async (owner) => {
        let count = 0;
        for await (const [key] of store.iterator?.(undefined) ?? []) if (String(key).startsWith(`${owner}:`)) count++;
        return count;
      },
      close: () => store.disconnect(),
    };
  },
};

export const listings = [keyv];
