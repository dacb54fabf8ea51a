import { isUtf8 } from 'node:buffer';
import { encodeStored, type Token } from '../../json.js';
import { BEGINNING, CHECKPOINT, type Checkpoint, type Stamp, type Step } from './line-format.js';

/** What a commit line may say. A word that is not among them is a damaged one, or a slip of the hand. */
const WORDS: ReadonlySet<string> = new Set([
  ...(['at', 'v', 'expires', 'ttl', 'created', 'id', 'sent', 'inc'] satisfies (keyof Stamp)[]),
  ...(['clear', 'owner', 'set', 'append', 'remove', 'm', 'reply', 'from'] satisfies (keyof Step)[]),
]);
/** Stands for a line that is no text: it cannot be parsed. */
const NO_TEXT = '\0';

/**
 * The line between two places of a buffer; empty where it is blank. Bytes that are no UTF-8 would silently become
 * replacement characters, so that such a line comes out as one that cannot be read.
 */
export function lineText(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString('utf8', start, end);
  if (text.includes('\uFFFD') && !isUtf8(bytes.subarray(start, end))) return NO_TEXT;
  // Editors end lines with a carriage return, and leave blank ones.
  return text.trim() === '' ? '' : text;
}

/** Is this what a checkpoint line holds, as far as it must be known to use it? */
export function isCheckpoint(snap: unknown): snap is Checkpoint {
  const { at, v, created, log, recent, replies = [], set } = (snap ?? {}) as Partial<Checkpoint>;
  return (
    [at, created].every((time) => typeof time === 'string' && !Number.isNaN(Date.parse(time))) &&
    typeof v === 'number' &&
    typeof log?.total === 'number' &&
    Array.isArray(recent) &&
    recent.every((one) => Array.isArray(one) && momentOf(one[1]?.at) !== undefined) &&
    Array.isArray(replies) &&
    replies.every((one) => Array.isArray(one) && typeof one[0] === 'string' && one.length === 2) &&
    typeof set === 'object' &&
    set !== null
  );
}

/** The checkpoint that a line holds, if it is one and stands where it was written. */
export function checkpointOf(line: string, offset: number): Checkpoint | undefined {
  if (!line.startsWith(CHECKPOINT)) return undefined;
  try {
    const { snap } = JSON.parse(line) as { snap: unknown };
    return isCheckpoint(snap) && snap.offset === offset ? snap : undefined;
  } catch {
    return undefined;
  }
}

/** The log entries of a line, and where it says that the log begins; `undefined` where it cannot be read. */
export function entriesOf(line: string): { entries: Token[]; from: number | undefined } | undefined {
  const found = { entries: [] as Token[], from: undefined as number | undefined };
  if (line === '' || line.startsWith(CHECKPOINT) || line.startsWith(BEGINNING)) return found;
  try {
    const parsed: unknown = JSON.parse(line);
    const plain = isPlain(line);
    const steps: unknown[] = Array.isArray(parsed) ? parsed : [parsed];
    if (!steps.every(isStep)) return undefined;
    for (const step of steps as Step[]) {
      if (step.clear === 'log') found.entries = [];
      if (step.m !== undefined) found.entries.push(tokenOf(step.m, plain));
      if (step.from !== undefined) found.from = step.from;
    }
    return found;
  } catch {
    return undefined;
  }
}

/** In such a line no number is one that `JSON.stringify` would change: `-0`, or what is read as infinite. */
export function isPlain(line: string): boolean {
  return !/[[:,]\s*-0|\d[eE]\+?\d{3}/.test(line);
}

/** Is there nothing in a value that was read which cannot be written again? */
export function canBeEncoded(value: unknown): boolean {
  try {
    encodeStored(value);
    return true;
  } catch {
    return false;
  }
}

const NO_REPLY = { key: '', value: null, keep: 1 };

/** Could this stand in a commit line? */
export function isStep(element: unknown): boolean {
  if (typeof element !== 'object' || element === null) return false;
  for (const word in element) if (!WORDS.has(word)) return false;
  const { set = {}, append = {}, remove = [], from = 0, owner = null, clear = 'log' } = element as Step;
  const { reply = NO_REPLY } = element as Step;
  const { at, created, sent, expires = null } = element as Partial<Stamp>;
  return (
    typeof set === 'object' &&
    set !== null &&
    typeof append === 'object' &&
    append !== null &&
    Array.isArray(remove) &&
    Number.isSafeInteger(from) &&
    typeof reply?.key === 'string' &&
    Number.isSafeInteger(reply.keep) &&
    reply.value !== undefined &&
    (owner === null || typeof owner === 'string') &&
    (clear === 'log' || clear === 'fields' || clear === 'replies') &&
    (at === undefined || momentOf(at) !== undefined) &&
    (created === undefined || momentOf(created) !== undefined) &&
    (sent === undefined || momentOf(sent) !== undefined) &&
    // One that cannot be read would mean never.
    (expires === null || momentOf(expires) !== undefined)
  );
}

/** Epoch milliseconds. */
export function momentOf(iso: string | null | undefined): number | undefined {
  const moment = Date.parse(iso ?? '');
  return Number.isNaN(moment) ? undefined : moment;
}

/** The token of a value that stands in a line. */
export function tokenOf(value: unknown, plain: boolean): Token {
  return plain ? JSON.stringify(value) : encodeStored(value);
}
