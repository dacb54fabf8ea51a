import { leftOf, newSession, type Session, turnOn } from './session.js';
import type { Opened, Place, Subject } from './subject.js';

/** Loads and stores whole sessions by key; how every such library is measured the same way. */
export interface SessionStore {
  load(id: number): Promise<Session | null | undefined>;
  store(id: number, session: Session): Promise<unknown>;
  close(): Promise<unknown>;
  /** Runs the turn through the library's own middleware. Default: load, the turn, store. */
  turn?(id: number): Promise<number>;
}

/** A subject that keeps a conversation as one value. */
export function sessionSubject(
  about: Omit<Subject, 'open'>,
  openStore: (place: Place) => Promise<SessionStore>,
): Subject {
  return {
    ...about,
    async open(place): Promise<Opened> {
      const store = await openStore(place);
      return {
        seed: async (id, count) => {
          await store.store(id, newSession(count));
        },
        turn: (id) => (store.turn ? store.turn(id) : plainTurn(store, id)),
        look: async (id) => leftOf(await store.load(id)),
        close: async () => {
          await store.close();
        },
      };
    },
  };
}

async function plainTurn(store: SessionStore, id: number): Promise<number> {
  const session = (await store.load(id)) ?? newSession();
  const visits = turnOn(session);
  await store.store(id, session);
  return visits;
}
