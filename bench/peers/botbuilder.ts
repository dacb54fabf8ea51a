import {
  BotAdapter,
  ConversationState,
  MemoryStorage,
  type Storage,
  type StoreItems,
  TurnContext,
} from 'botbuilder-core';
import { MAP_FLOOR, SCRIPTS_FLOOR } from '../floors/names.js';
import { newSession, type Session, turnOn } from '../session.js';
import { type SessionStore, sessionSubject } from '../session-subject.js';
import { quietRedis } from './quiet-redis.js';

/** Sends nothing anywhere. */
class SilentAdapter extends BotAdapter {
  sendActivities = async () => [];
  updateActivity = async () => undefined;
  deleteActivity = async () => {};
  continueConversation = async () => {};
}

function state(storage: Storage, close: () => Promise<unknown>): SessionStore {
  const adapter = new SilentAdapter();
  const conversations = new ConversationState(storage);
  const property = conversations.createProperty<Session>('session');
  const contextOf = (id: number): TurnContext => {
    const who = { id: String(id), name: 'Ada' };
    const conversation = { id: String(id), isGroup: false, conversationType: 'personal', name: '' };
    return new TurnContext(adapter, { type: 'message', channelId: 'bench', conversation, from: who, text: 'turn' });
  };
  return {
    load: (id) => property.get(contextOf(id)),
    store: async (id, value) => {
      const context = contextOf(id);
      await property.set(context, value);
      await conversations.saveChanges(context);
    },
    turn: async (id) => {
      const context = contextOf(id);
      const visits = turnOn(await property.get(context, newSession()));
      await conversations.saveChanges(context);
      return visits;
    },
    close,
  };
}

/** ConversationState always writes with the etag `*`, so a storage has nothing to compare. */
function redisStorage(client: ReturnType<typeof quietRedis>): Storage {
  return {
    async read(keys) {
      const texts = await client.mget(keys);
      return Object.fromEntries(
        keys.flatMap((key, i) => (texts[i] ? [[key, JSON.parse(texts[i])]] : [])),
      ) as StoreItems;
    },
    async write(changes) {
      await client.mset(Object.entries(changes).flatMap(([key, value]) => [key, JSON.stringify(value)]));
    },
    async delete(keys) {
      await client.del(keys);
    },
  };
}

export const subjects = [
  sessionSubject({ name: 'botbuilder ConversationState, MemoryStorage', kind: 'memory', floor: MAP_FLOOR }, async () =>
    state(new MemoryStorage(), async () => {}),
  ),
  sessionSubject(
    { name: 'botbuilder ConversationState, Redis storage', kind: 'valkey', floor: SCRIPTS_FLOOR },
    async ({ url }) => {
      const client = quietRedis(url, { keyPrefix: 'botbuilder:' });
      return state(redisStorage(client), async () => client.disconnect());
    },
  ),
];
