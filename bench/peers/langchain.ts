import { InMemoryChatMessageHistory } from '@langchain/core/chat_history';
import { AIMessage, type BaseMessage, HumanMessage, mapChatMessagesToStoredMessages } from '@langchain/core/messages';
import { RedisChatMessageHistory } from '@langchain/redis';
import { MAP_FLOOR, SCRIPTS_FLOOR } from '../floors/names.js';
import type { Subject } from '../subject.js';
import { NEWEST, SAID } from '../turn-data.js';
import { quietRedis } from './quiet-redis.js';

interface History {
  getMessages(): Promise<BaseMessage[]>;
  addMessages(messages: BaseMessage[]): Promise<void>;
}

/** It keeps messages and nothing else: less work than the other rows do. Returns the turns that it has seen. */
async function turnOn(history: History): Promise<number> {
  const all = await history.getMessages();
  all.slice(-NEWEST).map(({ content }) => content);
  await history.addMessages([new HumanMessage(SAID), new AIMessage(SAID)]);
  return all.length / 2 + 1;
}

const inMemory: Subject = {
  name: 'LangChain InMemoryChatMessageHistory (messages only)',
  kind: 'memory',
  floor: MAP_FLOOR,
  async open() {
    const all = new Map<number, InMemoryChatMessageHistory>();
    return {
      seed: async (id, count) => {
        all.set(id, new InMemoryChatMessageHistory(Array.from({ length: count }, () => new HumanMessage(SAID))));
      },
      turn: async (id) => turnOn(all.get(id) as InMemoryChatMessageHistory),
      close: async () => all.clear(),
    };
  },
};

const redis: Subject = {
  name: 'LangChain RedisChatMessageHistory (messages only)',
  kind: 'valkey',
  floor: SCRIPTS_FLOOR,
  async open({ url }) {
    const config = { url };
    const historyOf = (id: number) => new RedisChatMessageHistory({ sessionId: `langchain:${id}`, config });
    const { client } = historyOf(0);
    client.on('error', () => {});
    const seeder = quietRedis(url);
    const stored = JSON.stringify(mapChatMessagesToStoredMessages([new HumanMessage(SAID)])[0]);
    return {
      seed: async (id, count) => {
        if (count > 0) await seeder.lpush(`langchain:${id}`, ...Array.from({ length: count }, () => stored));
      },
      turn: (id) => turnOn(historyOf(id)),
      look: async (id) => ({ visits: undefined, messages: (await historyOf(id).getMessages()).length }),
      close: async () => {
        seeder.disconnect();
        if (client.isOpen) await client.disconnect();
      },
    };
  },
};

export const subjects = [inMemory, redis];
