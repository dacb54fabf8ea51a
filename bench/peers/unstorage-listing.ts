import { createStorage } from 'unstorage';
import redisDriver from 'unstorage/drivers/redis';
import { type Listing, VALKEY_LISTING } from '../listings/listing.js';
import { newSession, type Session } from '../session.js';

/** Keys in folders by user: listing a folder is what it offers. It knows no times, so it cannot remove the oldest. */
const unstorage: Listing = {
  name: 'unstorage, redis driver: getKeys(user), getItems',
  kind: 'valkey',
  floor: VALKEY_LISTING,
  async open({ url }) {
    const storage = createStorage<Session>({ driver: redisDriver({ url, base: 'unstorage-list' }) });
    return {
      add: (id, owner) => storage.setItem(`${owner}:${id}`, newSession(2)),
      listOwner: async (owner) => (await storage.getItems(await storage.getKeys(owner))).length,
      close: () => storage.dispose(),
    };
  },
};

export const listings = [unstorage];
