import { newSession, type Session } from '../session.js';
import type { Subject } from '../subject.js';
import { BLOB, CHANNEL, message, NEWEST } from '../turn-data.js';
import { MAP_FLOOR } from './names.js';

/** The least that keeps a conversation in memory and hands out copies. */
const map: Subject = {
  name: MAP_FLOOR,
  kind: 'memory',
  flat: true,
  async open() {
    const sessions = new Map<number, Session>();
    return {
      seed: async (id, count) => {
        sessions.set(id, newSession(count));
      },
      turn: async (id) => {
        const session = sessions.get(id);
        if (!session) throw new Error('not seeded');
        const { variables, metadata, history } = session;
        structuredClone(history.slice(-NEWEST));
        structuredClone(variables.name);
        structuredClone(variables.preferences);
        variables.visits++;
        variables.last = structuredClone(BLOB);
        history.push(structuredClone(message('user')), structuredClone(message('assistant')));
        metadata.channel = structuredClone(CHANNEL);
        return variables.visits;
      },
      close: async () => sessions.clear(),
    };
  },
};

export const subjects = [map];
