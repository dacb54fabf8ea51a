import { createHash } from 'node:crypto';
import { readFileSync, type Stats, statSync, unlinkSync } from 'node:fs';
import { isMissing } from './file-errors.js';
import { type Owner, parseOwner, stateOf } from './process-owner.js';
import { statOf } from './stat-of.js';

/** A process that we cannot see has lost a mark that it has neither released nor touched for so long. */
export const SILENCE_MS = 10_000;
/** The same for a process that has not written at all: it makes itself known anew after half of that. */
export const LONG_SILENCE_MS = 3_600_000;
/** A mark that names nobody was lost in a power cut, or is being written where there are no links. */
export const NAMELESS_MS = 1_000;

/** What makes a mark of this process at a path. False where one is there already. */
export type Marker = (path: string) => boolean;

/** A mark, as it was found. */
export interface Holder {
  readonly text: string;
  readonly owner: Owner | undefined;
  readonly stats: Stats;
}

/** The mark at a path; `undefined` where there is none. */
export function holderOf(path: string): Holder | undefined {
  try {
    const stats = statSync(path);
    const text = readFileSync(path, 'utf8');
    return { text, owner: parseOwner(text), stats };
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Will whoever holds this mark never release it? Taking and releasing one changes the time of all links to its file. */
function isGone({ owner, stats }: Omit<Holder, 'text'>, silenceMs = SILENCE_MS, since = stats.ctimeMs): boolean {
  const silence = Date.now() - since;
  if (!owner) return silence > NAMELESS_MS;
  const state = stateOf(owner);
  return state === 'unknown' ? silence > silenceMs : state === 'dead';
}

/** The same of what a process leaves alone for as long as it writes nothing. `since`: when it last did something. */
export function isLongGone(holder: Omit<Holder, 'text'>, since?: number): boolean {
  return isGone(holder, LONG_SILENCE_MS, since);
}

/**
 * Removes the mark at `path` if its holder is gone. Only who has the breaker's mark for that very holder may: two who
 * found the same dead holder could otherwise remove each other's new mark. A holder that is dead takes no mark again,
 * so who comes second finds another one there, and leaves it.
 */
export function breakIfGone(
  path: string,
  lock: string,
  mark: Marker,
  isOver: (holder: Holder) => boolean = (holder) => isGone(holder),
): boolean {
  const holder = holderOf(path);
  if (!holder) return true;
  if (!isOver(holder)) return false;
  const hash = createHash('sha256').update(`${path}\n${holder.text}`).digest('hex').slice(0, 16);
  const breaker = `${lock}.dead-${hash}`;
  // Who had it may have died in turn.
  if (!mark(breaker) && !(breakIfGone(breaker, lock, mark) && mark(breaker))) return false;
  try {
    const now = holderOf(path);
    if (now?.text === holder.text && isOver(now)) unlinkSync(path);
  } finally {
    unlinkSync(breaker);
  }
  return true;
}

/** Removes a mark that a dead process has left, wherever nobody asks for it any more. */
export function removeIfGone(path: string, mark: Marker): void {
  if (statOf(path)) breakIfGone(path, path.replace(/\.dead-.*$/, ''), mark);
}
