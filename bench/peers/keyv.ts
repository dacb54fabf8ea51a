import KeyvRedis from '@keyv/redis';
import Keyv from 'keyv';
import { SCRIPTS_FLOOR } from '../floors/names.js';
import type { Session } from '../session.js';
import { sessionSubject } from '../session-subject.js';

export const subjects = [
  sessionSubject(
    { name: 'keyv, @keyv/redis', kind: 'valkey', floor: SCRIPTS_FLOOR, throughput: true },
    async ({ url }) => {
      const keyv = new Keyv<Session>({ store: new KeyvRedis(url), namespace: 'keyv' });
      keyv.on('error', () => {});
      return {
        load: (id) => keyv.get(String(id)),
        store: (id, value) => keyv.set(String(id), value),
        close: () => keyv.disconnect(),
      };
    },
  ),
];
