import { readSync } from 'node:fs';
import type { Token } from '../../json.js';
import { CHECKPOINT, isAsWritten, NEWLINE } from './line-format.js';
import { checkpointOf, entriesOf, lineText } from './line-reading.js';
import type { RecordFold } from './record-fold.js';

const CHUNK = 1 << 16;
const LINE_END = 10;

/**
 * Calls with every whole line in a stretch of a file that is not blank, and where it begins, until one answers `false`.
 * @returns where the last of them ends
 */
export function eachLine(
  file: number,
  from: number,
  to: number,
  call: (line: string, offset: number) => unknown,
): number {
  let buffer = Buffer.allocUnsafe(Math.min(CHUNK, Math.max(0, to - from)) + 1);
  let length = 0;
  let at = from;
  while (at + length < to) {
    if (length === buffer.length) buffer = Buffer.concat([buffer], buffer.length * 2);
    const count = readSync(file, buffer, length, Math.min(buffer.length - length, to - at - length), at + length);
    if (count === 0) break;
    length += count;
    let start = 0;
    for (let end = buffer.indexOf(LINE_END, 0); end >= 0 && end < length; end = buffer.indexOf(LINE_END, start)) {
      const offset = at + start;
      const text = lineText(buffer, start, end);
      start = end + 1;
      if (text !== '' && call(text, offset) === false) return at + start;
    }
    buffer.copyWithin(0, start, length);
    at += start;
    length -= start;
  }
  return at;
}

/**
 * The log entries of a record from one position to another, from its file. Costs as much as lies between, and some
 * steps of a search among the checkpoints to find where that begins.
 * @param sound no line of the file is known to be damaged: checkpoints count also what others have lost
 * @returns `undefined` where one of a sound file cannot be read after all
 */
export function readEntries(
  file: number,
  end: number,
  fold: RecordFold,
  [from, to]: readonly [number, number],
  sound: boolean,
): Token[] | undefined {
  if (from >= to) return [];
  const found: Token[] = [];
  const start = sound ? startOf(file, end, fold, from) : { offset: fold.logOffset, position: 0 };
  let { position } = start;
  let whole = true;
  const take = (line: string): boolean => {
    const read = entriesOf(line);
    if (!read && sound) whole = false;
    const { entries, from: first } = read ?? { entries: [], from: undefined };
    for (const entry of entries) {
      if (position >= from && position < to) found.push(entry);
      position++;
    }
    if (first !== undefined) position = Math.max(position, first);
    return whole && position < to;
  };
  const last = eachLine(file, start.offset, end, take);
  // The last line may lack its newline.
  const rest = whole && position < to && last < end ? textBetween(file, last, end) : '';
  if (rest !== '') take(rest);
  return whole ? found : undefined;
}

function textBetween(file: number, from: number, to: number): string {
  const bytes = Buffer.allocUnsafe(to - from);
  return lineText(bytes, 0, readSync(file, bytes, 0, bytes.length, from));
}

/** A line to begin at, not after the one with the entry at `wanted`, and the position of its first entry. */
export function startOf(
  file: number,
  end: number,
  fold: RecordFold,
  wanted: number,
): { offset: number; position: number } {
  let best = { offset: fold.logOffset, position: 0 };
  let limit = end;
  while (limit - best.offset > CHUNK) {
    const middle = best.offset + Math.floor((limit - best.offset) / 2);
    const checkpoint = checkpointAfter(file, middle, limit, fold.logOffset);
    if (checkpoint && checkpoint.position <= wanted) best = checkpoint;
    else limit = middle;
  }
  return best;
}

/** The first checkpoint of this log that begins in a stretch of the file. */
function checkpointAfter(
  file: number,
  from: number,
  to: number,
  logOffset: number,
): { offset: number; position: number } | undefined {
  let found: { offset: number; position: number } | undefined;
  const mark = `${NEWLINE}${CHECKPOINT}`;
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK, to - from));
  for (let at = from; at < to && !found; at += buffer.length - mark.length) {
    const count = readSync(file, buffer, 0, Math.min(buffer.length, to - at), at);
    if (count <= mark.length) break;
    const index = buffer.subarray(0, count).indexOf(mark);
    if (index < 0) continue;
    const offset = at + index + 1;
    eachLine(file, offset, to, (line) => {
      const snap = checkpointOf(line, offset);
      if (snap && snap.log.offset === logOffset && isAsWritten(line)) found = { offset, position: snap.log.total };
      return false;
    });
    break;
  }
  return found;
}
