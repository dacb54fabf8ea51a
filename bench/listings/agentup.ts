import { join } from 'node:path';
import { ConversationContext, FileStorage, MemoryStorage, type StateStorage, ValkeyStorage, withState } from 'agentup';
import type { Place } from '../subject.js';
import { NAME, SAID } from '../turn-data.js';
import { FILE_LISTING, type Listing, MAP_LISTING, VALKEY_LISTING } from './listing.js';

const HOUR_MS = 3_600_000;

function agentup(about: Omit<Listing, 'open'>, open: (place: Place) => StateStorage): Listing {
  return {
    ...about,
    async open(place) {
      const storage = open(place);
      const context = new ConversationContext(storage);
      const add = withState(
        async (_task, own, id) => {
          await own.setVariable(id, 'name', NAME);
          await own.addToHistory(id, 'user', SAID);
          await own.addToHistory(id, 'assistant', SAID);
        },
        { storage, history: 0 },
      );
      return {
        add: (id, userId) => add({ id: String(id), userId, text: '' }),
        listOwner: async (userId) => {
          let count = 0;
          for await (const { updatedAt } of context.listContexts({ userId })) if (updatedAt) count++;
          return count;
        },
        removeBefore: (moment) => context.cleanupOldContexts({ maxAgeHours: (Date.now() - moment) / HOUR_MS }),
        close: () => storage.close(),
      };
    },
  };
}

export const listings = [
  agentup({ name: 'agentup, memory', kind: 'memory', floor: MAP_LISTING }, () => new MemoryStorage()),
  agentup(
    { name: 'agentup, file', kind: 'file', floor: FILE_LISTING },
    ({ directory }) => new FileStorage({ storageDir: join(directory, 'agentup') }),
  ),
  agentup(
    { name: 'agentup, Valkey', kind: 'valkey', floor: VALKEY_LISTING },
    ({ url }) => new ValkeyStorage({ url, keyPrefix: 'agentup:' }),
  ),
];
