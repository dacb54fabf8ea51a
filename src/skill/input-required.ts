import type { JsonValue } from '../json.js';

/** A handler's reply that asks back: the piece of work stays open, and the next message continues it. */
export interface InputRequired {
  readonly kind: 'input-required';
  readonly question: string;
  /** For the program at the other end: choices, a form. */
  readonly data?: JsonValue | undefined;
  /** The task that the question belongs to, on a reply that was kept. */
  readonly taskId?: string | undefined;
}

/** Returned by a handler: asks the user something, and leaves the task open until the answer comes. */
export function inputRequired(question: string, data?: JsonValue): InputRequired {
  return { kind: 'input-required', question, ...(data !== undefined && { data }) };
}

/** Plain data, so that a reply kept for a redelivery is one as well. */
export function isInputRequired(value: unknown): value is InputRequired {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, question } = value as Partial<InputRequired>;
  return kind === 'input-required' && typeof question === 'string';
}
