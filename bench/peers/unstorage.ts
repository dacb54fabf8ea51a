import { createStorage } from 'unstorage';
import redisDriver from 'unstorage/drivers/redis';
import { SCRIPTS_FLOOR } from '../floors/names.js';
import type { Session } from '../session.js';
import { sessionSubject } from '../session-subject.js';

export const subjects = [
  sessionSubject({ name: 'unstorage, redis driver', kind: 'valkey', floor: SCRIPTS_FLOOR }, async ({ url }) => {
    const driver = redisDriver({ url, base: 'unstorage' });
    // What a call meets is that call's error; without a listener it would be printed as well.
    driver.getInstance?.().on('error', () => {});
    const storage = createStorage<Session>({ driver });
    return {
      load: (id) => storage.getItem(String(id)),
      store: (id, value) => storage.setItem(String(id), value),
      close: () => storage.dispose(),
    };
  }),
];
