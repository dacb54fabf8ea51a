import { decode, type Token } from '../json.js';
import { MAX_TTL } from '../storage/changes.js';

/** The field of a conversation's record in which its lifecycle is noted. No variable or metadata entry is called so. */
export const LIFE = 'life';

/**
 * What the lifecycle of a conversation has come to. It lies in the record, so that every process knows it from the
 * snapshot of a turn.
 */
export interface Life {
  /** The skills it has been started for, and when: epoch milliseconds. */
  readonly started: Readonly<Record<string, number>>;
  /** Where somebody waits for its end: seconds after the last write at which it is over. */
  readonly ttl?: number | 'none' | undefined;
  /** It was ended, but a hook for that has failed so far: what was said about the end. */
  readonly over?: string | undefined;
  /** It was ended, and is kept to be read until it is over; the hooks have still to hear of it. */
  readonly ended?: true | undefined;
}

/**
 * Seconds that a conversation whose end somebody waits for is kept past its time to live: as long may no process run
 * that looks after it.
 */
export const GRACE = 86_400;

export function lifeOf(token: Token | undefined): Life | undefined {
  return token === undefined ? undefined : decode<Life>(token);
}

/** The time to live of the record of a conversation that is over after `ttl`. */
export function outlived(ttl: number | 'none'): number | 'none' {
  return ttl === 'none' ? ttl : Math.min(ttl + GRACE, MAX_TTL);
}

/** When it is over, if nobody writes to it before: epoch milliseconds; `undefined` never. */
export function overAt({ ttl, over }: Life, updatedAt: number): number | undefined {
  if (over !== undefined) return updatedAt;
  return typeof ttl === 'number' ? updatedAt + ttl * 1000 : undefined;
}

/** When the hooks for its end are to run, as far as is known now: epoch milliseconds; 0 at once, `undefined` never. */
export function endDueAt(life: Life, updatedAt: number): number | undefined {
  return life.ended ? 0 : overAt(life, updatedAt);
}

/** Is it over, though still there? */
export function isOver(life: Life, updatedAt: number, now: number): boolean {
  return (overAt(life, updatedAt) ?? Number.POSITIVE_INFINITY) <= now;
}
