import { type ErrorCode, isAgentUpError } from '../errors.js';

/** What a caller is told, by the code of the error. Whatever is not listed is nobody else's business. */
const SENTENCES: Partial<Record<ErrorCode, { readonly text: string; readonly status: number }>> = {
  CONVERSATION_BUSY: { text: 'This conversation is busy. Try again later.', status: 429 },
  STORAGE_UNAVAILABLE: { text: 'The memory of this agent cannot be reached. Try again later.', status: 503 },
  AGENT_CLOSED: { text: 'This agent is stopping. Try again later.', status: 503 },
  CONTEXT_FORBIDDEN: { text: 'This conversation belongs to somebody else.', status: 403 },
  SKILL_NOT_FOUND: { text: 'No skill of this agent answers this message.', status: 404 },
  REPLY_NOT_KEPT: { text: 'This message was handled before, and its reply was not kept.', status: 409 },
  LIMIT_EXCEEDED: { text: 'Something in this message is larger than this agent takes.', status: 413 },
};

const OTHERWISE = 'The agent could not handle this message.';

/** Is this what a caller is told of a failure? */
export function isSentence(text: string): boolean {
  return (
    text === OTHERWISE ||
    text === TENANT_FORBIDDEN.text ||
    Object.values(SENTENCES).some((sentence) => sentence.text === text)
  );
}

export interface Failure {
  readonly text: string;
  readonly status: number;
  /** The code, where a caller may know it. */
  readonly code: string;
}

/** Said to who names a tenant that is not theirs. */
export const TENANT_FORBIDDEN: Failure = { text: 'This tenant is not yours.', status: 403, code: 'TENANT_FORBIDDEN' };

/** Said of a task whose server died over it. */
export const INTERRUPTED: Failure = {
  text: 'The server that worked on this is gone. Send the message again.',
  status: 503,
  code: 'INTERRUPTED',
};

/** The safe side of an error; the other side is for the log. */
export function failureOf(error: unknown): Failure {
  const known = isAgentUpError(error) ? SENTENCES[error.code] : undefined;
  if (known && isAgentUpError(error)) return { ...known, code: error.code };
  return { text: OTHERWISE, status: 500, code: 'HANDLER_FAILED' };
}
