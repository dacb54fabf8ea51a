import { AgentUpError } from '../errors.js';

/** A timer set for longer goes off at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Turns of this process that wait for one conversation: first come, first served. */
export class TurnQueue {
  readonly #tails = new Map<string, { waiting: number; last: Promise<void> }>();

  /**
   * Waits for the turns of `text` that came before, at most `waitMs`.
   * @returns what must be called when the turn is over
   * @throws CONVERSATION_BUSY when `maxWaiting` wait already, or the wait took too long
   */
  async enter(text: string, waitMs: number, maxWaiting: number): Promise<() => void> {
    let line = this.#tails.get(text);
    if (line && line.waiting >= maxWaiting) throw busy(`${line.waiting} turns of this conversation wait already`);
    if (!line) {
      line = { waiting: 0, last: Promise.resolve() };
      this.#tails.set(text, line);
    }
    const mine = line;
    const before = mine.last;
    const first = mine.waiting++ === 0;
    let open = (): void => {};
    mine.last = new Promise((resolve) => {
      open = resolve;
    });
    const leave = (): void => {
      if (--mine.waiting === 0) this.#tails.delete(text);
      open();
    };
    if (first) return leave;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, Math.min(waitMs, MAX_TIMER_MS), 'late');
    });
    const outcome = await Promise.race([before, late]);
    clearTimeout(timer);
    if (outcome === 'late') {
      // Keeps its place in the chain, so that nobody behind overtakes the turn that still runs.
      void before.then(leave);
      throw busy(`a turn waited ${waitMs} ms for the ones before it`);
    }
    return leave;
  }
}

/** The error for a conversation that does not come free. */
export function busy(why: string, retryAfterMs?: number): AgentUpError {
  return new AgentUpError('CONVERSATION_BUSY', `the conversation is busy: ${why}`, {
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    fix: 'try again later, or raise `state.wait`',
  });
}
