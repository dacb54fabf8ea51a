import { KeyedBag } from '../bag.js';
import { AgentUpError } from '../errors.js';
import type { BeginOptions, Committed } from '../storage/state-storage.js';

/** A timer set for longer goes off at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** A turn that the one before it has begun. */
export type HandedOver = NonNullable<Committed['begun']>;

/** A lease that a commit was to pass on. */
export interface Passing {
  readonly token: string;
  /** Absent where the answer has not said that it did; that proves nothing. */
  readonly begun: HandedOver | undefined;
}

/** What may end a turn before its time. */
export interface Stop {
  /** @throws where it has */
  check(): void;
  /** Calls back, with what to throw, when it does. @returns ends that */
  hear(callback: (error: unknown) => void): () => void;
}

interface Waiting {
  /** How it would begin; absent where it takes no lease. */
  readonly asks: BeginOptions | undefined;
  readonly enter: (begun: HandedOver | undefined) => void;
}

interface Line {
  /** Turns that run or wait. */
  size: number;
  /** Who comes next, in their order. */
  readonly waiting: Waiting[];
}

/** Turns of this process that wait for one conversation: first come, first served. */
export class TurnQueue {
  readonly #lines = new KeyedBag<Line>();

  /**
   * Takes the place of the turn that runs, or waits at most `waitMs` for those of `text` that came before. Who has
   * entered must leave.
   * @param stop takes it out of the line
   * @returns a promise where there is anything to wait for; of the turn, where the one before has begun it already
   * @throws CONVERSATION_BUSY when `maxWaiting` wait already, or the wait took too long; what `stop` says
   */
  enter(
    text: string,
    { waitMs, maxWaiting }: { readonly waitMs: number; readonly maxWaiting: number },
    asks: BeginOptions | undefined,
    stop?: Stop,
  ): Promise<HandedOver | undefined> | undefined {
    const line = this.#lines.get(text);
    if (!line) {
      this.#lines.set(text, { size: 1, waiting: [] });
      return undefined;
    }
    stop?.check();
    if (line.size >= maxWaiting) throw busy(`${line.size} turns of this conversation wait already`);
    line.size++;
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        deaf?.();
      };
      const giveUp = (error: unknown): void => {
        done();
        line.waiting.splice(line.waiting.indexOf(waiting), 1);
        line.size--;
        reject(error);
      };
      const enter = (begun: HandedOver | undefined): void => {
        done();
        resolve(begun);
      };
      const waiting: Waiting = { asks, enter };
      const deaf = stop?.hear(giveUp);
      const timer = setTimeout(
        () => giveUp(busy(`a turn waited ${waitMs} ms for the ones before it`)),
        Math.min(waitMs, MAX_TIMER_MS),
      );
      line.waiting.push(waiting);
    });
  }

  /** Would one that enters have to wait? */
  has(text: string): boolean {
    return this.#lines.get(text) !== undefined;
  }

  /** How the next turn would begin, where one waits. */
  next(text: string): BeginOptions | undefined {
    return this.#lines.get(text)?.waiting[0]?.asks;
  }

  /**
   * The turn is over: the next one runs.
   * @param passing the lease that was to go to the next one
   * @returns false where the one it was meant for waits no longer
   */
  leave(text: string, passing?: Passing): boolean {
    const line = this.#lines.get(text);
    if (!line) return passing === undefined;
    if (--line.size === 0) this.#lines.delete(text);
    const next = line.waiting.shift();
    const meant = passing !== undefined && next?.asks?.token === passing.token;
    next?.enter(meant ? passing.begun : undefined);
    return meant || passing === undefined;
  }
}

/** The error for a conversation that does not come free. */
export function busy(why: string, retryAfterMs?: number): AgentUpError {
  return new AgentUpError('CONVERSATION_BUSY', `the conversation is busy: ${why}`, {
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    fix: 'try again later, or raise `state.wait`',
  });
}
