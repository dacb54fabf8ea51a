import { AgentUpError } from '../errors.js';

/** A timer set for longer goes off at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

interface Line {
  /** Turns that run or wait. */
  size: number;
  /** Who comes next, in their order. */
  readonly waiting: (() => void)[];
}

/** Turns of this process that wait for one conversation: first come, first served. */
export class TurnQueue {
  readonly #lines = new Map<string, Line>();

  /**
   * Takes the place of the turn that runs, or waits at most `waitMs` for those of `text` that came before. Who has
   * entered must leave.
   * @returns a promise where there is anything to wait for
   * @throws CONVERSATION_BUSY when `maxWaiting` wait already, or the wait took too long
   */
  enter(text: string, waitMs: number, maxWaiting: number): Promise<void> | undefined {
    const line = this.#lines.get(text);
    if (!line) {
      this.#lines.set(text, { size: 1, waiting: [] });
      return undefined;
    }
    if (line.size >= maxWaiting) throw busy(`${line.size} turns of this conversation wait already`);
    line.size++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => {
          line.waiting.splice(line.waiting.indexOf(enter), 1);
          line.size--;
          reject(busy(`a turn waited ${waitMs} ms for the ones before it`));
        },
        Math.min(waitMs, MAX_TIMER_MS),
      );
      const enter = (): void => {
        clearTimeout(timer);
        resolve();
      };
      line.waiting.push(enter);
    });
  }

  /** The turn is over: the next one runs. */
  leave(text: string): void {
    const line = this.#lines.get(text);
    if (!line) return;
    if (--line.size === 0) this.#lines.delete(text);
    else line.waiting.shift()?.();
  }
}

/** The error for a conversation that does not come free. */
export function busy(why: string, retryAfterMs?: number): AgentUpError {
  return new AgentUpError('CONVERSATION_BUSY', `the conversation is busy: ${why}`, {
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    fix: 'try again later, or raise `state.wait`',
  });
}
