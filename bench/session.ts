import { BLOB, CHANNEL, type Message, message, messages, NAME, NEWEST, PREFERENCES } from './turn-data.js';

/** A conversation as the libraries keep it that load all of it before a handler and store all of it after. */
export interface Session {
  variables: { name: string; preferences: { theme: string }; visits: number; last?: string };
  metadata: { channel?: string };
  history: Message[];
}

export function newSession(count = 0): Session {
  const variables = { name: NAME, preferences: { ...PREFERENCES }, visits: 0 };
  return { variables, metadata: {}, history: messages(count) };
}

/** The turn, as a handler does it on such a session. */
export function turnOn(session: Session): number {
  const { variables, metadata, history } = session;
  const read = history.slice(-NEWEST).length + variables.name.length + variables.preferences.theme.length;
  if (read === 0) throw new Error('nothing was read');
  variables.visits++;
  variables.last = BLOB;
  history.push(message('user'), message('assistant'));
  metadata.channel = CHANNEL;
  return variables.visits;
}

export function leftOf(session: Session | null | undefined): { visits: number; messages: number } {
  return { visits: session?.variables.visits ?? 0, messages: session?.history.length ?? 0 };
}
