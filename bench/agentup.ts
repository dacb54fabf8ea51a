import { join } from 'node:path';
import {
  ConversationContext,
  FileStorage,
  MemoryStorage,
  type StateStorage,
  type Task,
  ValkeyStorage,
  withState,
} from 'agentup';
import { APPEND_FLOOR, MAP_FLOOR, SCRIPTS_FLOOR, SYNC_FLOOR } from './floors/names.js';
import type { Opened, Place, Subject } from './subject.js';
import { BLOB, CHANNEL, NAME, NEWEST, PREFERENCES, SAID } from './turn-data.js';

const TTL = 7200;
/** Messages of a commit while seeding. */
const SEEDED_AT_ONCE = 2_000;

/** The turn that all rows do. */
async function work(_task: Task, context: ConversationContext, id: string): Promise<number> {
  const history = await context.getHistory(id, { limit: NEWEST });
  const name = await context.getVariable(id, 'name', 'nobody');
  const preferences = await context.getVariable(id, 'preferences', { theme: 'light' });
  if (history.length + name.length + preferences.theme.length === 0) throw new Error('nothing was read');
  const visits = await context.incrementVariable(id, 'visits');
  await context.setVariable(id, 'last', BLOB);
  await context.addToHistory(id, 'user', SAID);
  await context.addToHistory(id, 'assistant', SAID);
  await context.setMetadata(id, 'channel', CHANNEL);
  return visits;
}

/** Through the whole framework: a stateful handler, its lease, its commit. */
export function agentup(
  name: string,
  about: Omit<Subject, 'name' | 'open'>,
  open: (place: Place) => StateStorage | Promise<StateStorage>,
): Subject {
  return {
    name,
    flat: true,
    queues: true,
    ...about,
    async open(place): Promise<Opened> {
      const storage = await open(place);
      const context = new ConversationContext(storage);
      const handler = withState(work, { storage, history: NEWEST });
      return {
        seed: (id, count) => seed(storage, String(id), count),
        turn: (id) => handler({ id: String(id), text: 'turn' }),
        look: async (id) => ({
          visits: await context.getVariable(String(id), 'visits', 0),
          messages: (await context.getHistoryPage(String(id), { limit: 1 })).total,
        }),
        close: () => storage.close(),
      };
    },
  };
}

async function seed(storage: StateStorage, id: string, count: number): Promise<void> {
  const add = withState(
    async (_task, context, contextId) => {
      await context.setVariable(contextId, 'name', NAME);
      await context.setVariable(contextId, 'preferences', PREFERENCES);
      for (let i = 0; i < Math.min(left, SEEDED_AT_ONCE); i++) await context.addToHistory(contextId, 'user', SAID);
    },
    { storage, history: 0 },
  );
  let left = count;
  do {
    await add({ id, text: 'seed' });
    left -= SEEDED_AT_ONCE;
  } while (left > 0);
}

export const subjects = [
  agentup('agentup, memory', { kind: 'memory', floor: MAP_FLOOR }, () => new MemoryStorage({ ttl: TTL })),
  agentup(
    'agentup, file, interval',
    { kind: 'file', floor: APPEND_FLOOR },
    ({ directory }) => new FileStorage({ storageDir: join(directory, 'agentup-interval'), ttl: TTL }),
  ),
  agentup('agentup, file, interval, beside others', { kind: 'file', floor: APPEND_FLOOR }, async ({ directory }) => {
    const options = { storageDir: join(directory, 'agentup-beside'), ttl: TTL };
    // Another writer, until the process ends: locks and leases are files then.
    await new FileStorage(options).ping();
    return new FileStorage(options);
  }),
  agentup(
    'agentup, file, commit',
    { kind: 'file', floor: SYNC_FLOOR },
    ({ directory }) =>
      new FileStorage({ storageDir: join(directory, 'agentup-commit'), durability: 'commit', ttl: TTL }),
  ),
  agentup(
    'agentup, Valkey',
    { kind: 'valkey', floor: SCRIPTS_FLOOR, throughput: true },
    ({ url }) => new ValkeyStorage({ url, keyPrefix: 'agentup:', ttl: TTL }),
  ),
];
