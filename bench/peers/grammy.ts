import { join } from 'node:path';
import { FileAdapter } from '@grammyjs/storage-file';
import { RedisAdapter } from '@grammyjs/storage-redis';
import { Bot, type Context, MemorySessionStorage, type SessionFlavor, type StorageAdapter, session } from 'grammy';
import { APPEND_FLOOR, MAP_FLOOR, SCRIPTS_FLOOR } from '../floors/names.js';
import { newSession, type Session, turnOn } from '../session.js';
import { type SessionStore, sessionSubject } from '../session-subject.js';
import { quietRedis } from './quiet-redis.js';
import { BOT, TOKEN, Updates } from './telegram-updates.js';

type Storage = StorageAdapter<Session>;

/** The session middleware around a handler, on an update as a webhook would bring it. */
function bot(storage: Storage, close: () => Promise<unknown>): SessionStore {
  const updates = new Updates();
  const instance = new Bot<Context & SessionFlavor<Session>>(TOKEN, { botInfo: { ...BOT } as never });
  instance.use(session({ initial: newSession, storage }));
  instance.on('message', (context) => {
    updates.counted(context.update.update_id, turnOn(context.session));
  });
  return {
    load: async (id) => storage.read(String(id)),
    store: async (id, value) => storage.write(String(id), value),
    turn: (id) => updates.send(id, (update) => instance.handleUpdate(update as never)),
    close,
  };
}

export const subjects = [
  sessionSubject({ name: 'grammY session, memory', kind: 'memory', floor: MAP_FLOOR }, async () =>
    bot(new MemorySessionStorage<Session>(), async () => {}),
  ),
  sessionSubject({ name: 'grammY session, storage-file', kind: 'file', floor: APPEND_FLOOR }, async ({ directory }) =>
    bot(new FileAdapter<Session>({ dirName: join(directory, 'grammy') }), async () => {}),
  ),
  sessionSubject(
    { name: 'grammY session, storage-redis', kind: 'valkey', floor: SCRIPTS_FLOOR, throughput: true },
    async ({ url }) => {
      const instance = quietRedis(url, { keyPrefix: 'grammy:' });
      return bot(new RedisAdapter<Session>({ instance }), async () => instance.disconnect());
    },
  ),
];
