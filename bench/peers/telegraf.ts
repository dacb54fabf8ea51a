import { type Context, session, Telegraf } from 'telegraf';
import { SCRIPTS_FLOOR } from '../floors/names.js';
import { newSession, type Session, turnOn } from '../session.js';
import { sessionSubject } from '../session-subject.js';
import { quietRedis } from './quiet-redis.js';
import { BOT, TOKEN, Updates } from './telegram-updates.js';

interface SessionContext extends Context {
  session?: Session;
}

/** Telegraf's own session middleware with a store of three lines over Redis, as its documentation shows. */
const telegraf = sessionSubject(
  { name: 'Telegraf session, Redis store', kind: 'valkey', floor: SCRIPTS_FLOOR },
  async ({ url }) => {
    const client = quietRedis(url, { keyPrefix: 'telegraf:' });
    const store = {
      get: async (key: string): Promise<Session | undefined> => {
        const text = await client.get(key);
        return text === null ? undefined : (JSON.parse(text) as Session);
      },
      set: (key: string, value: Session) => client.set(key, JSON.stringify(value)),
      delete: (key: string) => client.del(key),
    };
    const updates = new Updates();
    const bot = new Telegraf<SessionContext>(TOKEN);
    bot.botInfo = { ...BOT } as never;
    bot.use(
      session({ store, defaultSession: () => newSession(), getSessionKey: async ({ chat }) => String(chat?.id) }),
    );
    bot.on('message', (context) => {
      updates.counted(context.update.update_id, turnOn(context.session as Session));
    });
    // The default prints the error and sets the exit status before it throws.
    bot.catch((error) => {
      throw error;
    });
    return {
      load: (id) => store.get(String(id)),
      store: (id, value) => store.set(String(id), value),
      turn: (id) => updates.send(id, (update) => bot.handleUpdate(update as never)),
      close: async () => client.disconnect(),
    };
  },
);

export const subjects = [telegraf];
