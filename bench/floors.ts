import { appendFile } from 'node:fs/promises';
import { Redis } from 'iovalkey';
import { type Case, forEachConversation } from './measure.js';

const SAID = JSON.stringify({ role: 'user', content: 'y'.repeat(300), timestamp: new Date(0).toISOString() });
const LINE = `${JSON.stringify([{ set: { last: 'x'.repeat(200), channel: 'bench' } }, { m: SAID }, { m: SAID }])}\n`;

/** The least that keeps a conversation in memory and hands out copies. */
export function mapFloor(name: string): Case {
  const conversations = new Map<string, { variables: Record<string, unknown>; history: object[]; metadata: object }>();
  return {
    name,
    async prepare(existing) {
      await forEachConversation(async (conversation) => {
        conversations.set(`${existing}-${conversation}`, {
          variables: { name: 'Ada', preferences: { theme: 'dark' }, visits: 0 },
          history: Array.from({ length: existing }, () => JSON.parse(SAID) as object),
          metadata: {},
        });
      });
      return async (conversation) => {
        const state = conversations.get(`${existing}-${conversation}`);
        if (!state) throw new Error('not prepared');
        structuredClone(state.history.slice(-10));
        structuredClone(state.variables['preferences']);
        state.variables['visits'] = (state.variables['visits'] as number) + 1;
        state.variables['last'] = 'x'.repeat(200);
        state.history.push(
          structuredClone({ role: 'user', content: 'y'.repeat(300), timestamp: new Date().toISOString() }),
        );
        state.history.push(
          structuredClone({ role: 'assistant', content: 'y'.repeat(300), timestamp: new Date().toISOString() }),
        );
        state.metadata = structuredClone({ channel: 'bench' });
      };
    },
  };
}

/** The least that writes a turn down: its bytes at the end of a file. */
export function appendFileFloor(name: string, file: string): Case {
  return {
    name,
    async prepare() {
      return () => appendFile(file, LINE);
    },
  };
}

/** The least that reads a snapshot and writes a turn on a server: two round trips of plain commands, pipelined. */
export function scriptFloor(url: string): { case(name: string): Case; close(): Promise<void> } {
  const client = new Redis(url.replace('valkey:', 'redis:'));
  return {
    case: (name) => ({
      name,
      async prepare(existing) {
        await forEachConversation(async (conversation) => {
          const key = `floor:${existing}-${conversation}`;
          await client.hset(key, 'name', '"Ada"', 'preferences', '{"theme":"dark"}');
          for (let i = 0; i < existing; i++) await client.rpush(`${key}:log`, SAID);
        });
        return async (conversation) => {
          const key = `floor:${existing}-${conversation}`;
          await client.pipeline().hgetall(key).lrange(`${key}:log`, -10, -1).exec();
          await client
            .pipeline()
            .hincrby(key, 'visits', 1)
            .hset(key, 'last', 'x'.repeat(200), 'channel', '"bench"')
            .rpush(`${key}:log`, SAID, SAID)
            .exec();
        };
      },
    }),
    close: async () => {
      await client.quit();
    },
  };
}
