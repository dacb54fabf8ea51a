import { readSync } from 'node:fs';
import { CHECKPOINT, isAsWritten, NEWLINE } from './line-format.js';
import { checkpointOf, entriesOf, lineText } from './line-reading.js';
import { RecordFold, TAIL } from './record-fold.js';

/** How much of the end of a file is looked at for a checkpoint, one after the other. */
const WINDOWS = [1 << 15, 1 << 17, 1 << 20];
const LINE_END = 10;

/**
 * Folds a file from its last checkpoint on, which costs the same at any length.
 * @param before from the last checkpoint that was written before this moment
 * @returns `undefined` where there is none, or a line after it cannot be read: then all of the file must be read
 */
export function quickFold(
  file: number,
  size: number,
  before = Number.POSITIVE_INFINITY,
): { fold: RecordFold; end: number } | undefined {
  for (const window of WINDOWS) {
    const from = Math.max(0, size - window);
    const buffer = Buffer.allocUnsafe(size - from);
    const bytes = buffer.subarray(0, readSync(file, buffer, 0, buffer.length, from));
    const found = foldWindow(bytes, from, before);
    if (found === 'damaged') return undefined;
    if (found) return takeHeader(from === 0 ? bytes : beginning(file), found.fold) ? found : undefined;
    if (from === 0) return undefined;
  }
  return undefined;
}

function foldWindow(
  bytes: Buffer,
  from: number,
  time: number,
): { fold: RecordFold; end: number } | 'damaged' | undefined {
  const mark = NEWLINE + CHECKPOINT;
  for (
    let before = bytes.lastIndexOf(mark);
    before >= 0;
    before = before > 0 ? bytes.lastIndexOf(mark, before - 1) : -1
  ) {
    const start = before + 1;
    const end = bytes.indexOf(LINE_END, start);
    const line = end < 0 ? '' : lineText(bytes, start, end);
    const snap = checkpointOf(line, from + start);
    if (!snap || Date.parse(snap.at) > time) continue;
    // Edited, or rotten: what it says of places in the file cannot be relied on.
    if (!isAsWritten(line)) return 'damaged';
    const fold = new RecordFold();
    if (!fold.line(line, from + start, 'trust')) return 'damaged';
    fold.recent.onlyFrom(snap);
    let at = end + 1;
    for (let stop = bytes.indexOf(LINE_END, at); stop >= 0; stop = bytes.indexOf(LINE_END, at)) {
      const text = lineText(bytes, at, stop);
      if (text !== '' && !fold.line(text, from + at, 'trust')) return 'damaged';
      at = stop + 1;
    }
    return fillTail(fold, bytes, before, from) ? { fold, end: from + at } : 'damaged';
  }
  return undefined;
}

/** Adds log entries from before the checkpoint, as far as they have been read anyway. False where one is damaged. */
function fillTail(fold: RecordFold, bytes: Buffer, end: number, from: number): boolean {
  const kept = Math.min(TAIL, fold.logTotal - fold.logDropped);
  // A log that began anew within the window is short, and read from the file when somebody asks for it.
  if (fold.logOffset >= from) return true;
  let tail = fold.tail;
  for (let stop = end; stop > 0 && tail.length < kept; ) {
    const start = bytes.lastIndexOf(LINE_END, stop - 1);
    // The first line of the window may be half a line.
    if (start < 0) break;
    const line = entriesOf(lineText(bytes, start + 1, stop));
    if (!line) return false;
    if (line.entries.length > 0) tail = [...line.entries, ...tail];
    stop = start;
  }
  fold.tail = tail.slice(Math.max(0, tail.length - kept));
  return true;
}

function beginning(file: number): Buffer {
  // An id is 1024 characters at most, of a scope there are few.
  const buffer = Buffer.allocUnsafe(1 << 14);
  return buffer.subarray(0, readSync(file, buffer, 0, buffer.length, 0));
}

function takeHeader(bytes: Buffer, fold: RecordFold): boolean {
  const end = bytes.indexOf(LINE_END);
  const { createdAt, updatedAt } = fold;
  if (end < 0 || !fold.line(lineText(bytes, 0, end), 0, 'trust')) return false;
  fold.createdAt = createdAt;
  fold.updatedAt = updatedAt;
  return true;
}
