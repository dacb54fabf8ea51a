import { AgentUpError } from '../errors.js';

/** One message to an agent. */
export interface Task {
  /** Names the piece of work; several messages may belong to one. */
  readonly id: string;
  /** The conversation. Default: the id of the task. */
  readonly contextId?: string | undefined;
  /** Names this message; the same one again is a redelivery. */
  readonly messageId?: string | undefined;
  readonly text: string;
  /** The message as it came, where it was more than text. */
  readonly parts?: readonly TaskPart[] | undefined;
  readonly userId?: string | undefined;
  readonly tenantId?: string | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  /**
   * Ends the turn before its time: pass it on to what the handler waits for. Once it is aborted the turn fails with
   * `TURN_CANCELLED`, keeps nothing, and lets the next one in, whether the handler listens or not;
   * a turn that waits for those before it leaves the line at once.
   */
  readonly signal?: AbortSignal | undefined;
}

/** @throws INVALID_ARGUMENT for what is no object: a text, or nothing */
export function checkTask(task: unknown): void {
  if (typeof task === 'object' && task !== null) return;
  throw new AgentUpError('INVALID_ARGUMENT', `a task is an object, not ${task === null ? 'null' : typeof task}`, {
    argument: 'task',
    fix: 'write { id, contextId, text }',
  });
}

/** A part of a message: text, or anything else that a protocol carries (A2A: file, data). */
export interface TaskPart {
  readonly kind?: string | undefined;
  readonly text?: string | undefined;
  readonly [name: string]: unknown;
}

/**
 * The text of a task, of an A2A message, or of an A2A task (its message, or the newest one of its user): the texts
 * of all text parts, one a line. Empty where there is none.
 */
export function textOf(source: unknown): string {
  if (typeof source === 'string') return source;
  if (typeof source !== 'object' || source === null) return '';
  const { text, parts, message, status, history } = source as Record<string, unknown>;
  if (typeof text === 'string' && text !== '') return text;
  if (Array.isArray(parts)) return parts.map(textOfPart).filter(Boolean).join('\n');
  if (message !== undefined) return textOf(message);
  if (Array.isArray(history)) {
    const said = history.findLast(
      (entry: { role?: unknown } | null) => entry?.role === 'user' || entry?.role === 'ROLE_USER',
    );
    if (said !== undefined) return textOf(said);
  }
  return typeof status === 'object' && status !== null ? textOf((status as { message?: unknown }).message) : '';
}

function textOfPart(part: unknown): string {
  if (typeof part === 'string') return part;
  if (typeof part !== 'object' || part === null) return '';
  // The Python SDK wraps each part in `root`.
  const { text, root } = part as { text?: unknown; root?: unknown };
  return typeof text === 'string' ? text : root === undefined ? '' : textOfPart(root);
}
