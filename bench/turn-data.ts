/** The content of the turn that every row does, and of the conversations it does it on. */
export const BLOB = 'x'.repeat(200);
export const SAID = 'y'.repeat(300);
export const NAME = 'Ada';
export const PREFERENCES = { theme: 'dark' };
export const CHANNEL = 'bench';
/** How many of the newest messages a turn reads. */
export const NEWEST = 10;

export interface Message {
  readonly role: 'user' | 'assistant';
  readonly content: string;
  readonly timestamp: string;
}

export function message(role: Message['role'] = 'user'): Message {
  return { role, content: SAID, timestamp: new Date().toISOString() };
}

/** So many messages for a new conversation. */
export function messages(count: number): Message[] {
  return Array.from({ length: count }, (_, n) => message(n % 2 === 0 ? 'user' : 'assistant'));
}

/** A turn's changes as one line of JSON: what a journal has to write at the least. */
export function line(): string {
  const changes = { visits: 1, set: { last: BLOB }, metadata: { channel: CHANNEL } };
  return `${JSON.stringify({ ...changes, log: [message('user'), message('assistant')] })}\n`;
}
