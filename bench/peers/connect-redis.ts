import { RedisStore } from 'connect-redis';
import { createClient } from 'redis';
import { SCRIPTS_FLOOR } from '../floors/names.js';
import type { Session } from '../session.js';
import { sessionSubject } from '../session-subject.js';

/** express-session's store, called as its middleware does: `get` before a request, `set` after it. */
export const subjects = [
  sessionSubject({ name: 'connect-redis', kind: 'valkey', floor: SCRIPTS_FLOOR }, async ({ url }) => {
    const client = createClient({ url });
    client.on('error', () => {});
    await client.connect();
    const store = new RedisStore({ client, prefix: 'connect:' });
    return {
      load: async (id) => (await store.get(String(id))) as Session | null,
      store: (id, value) => store.set(String(id), { ...value, cookie: { originalMaxAge: 7_200_000 } } as never),
      close: async () => client.destroy(),
    };
  }),
];
