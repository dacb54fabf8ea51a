import { closeSync, fsync, readSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import type { RecordKey } from '../keys.js';
import { syncNow } from './durability.js';
import type { Journal } from './journal.js';
import { createJournal, writeAll } from './journal-file.js';
import { headerLine, isAsWritten, NEWLINE } from './line-format.js';
import { checkpointOf, entriesOf } from './line-reading.js';
import { eachLine, startOf } from './log-pages.js';
import type { RecordFold } from './record-fold.js';

/** Below this garbage is left where it is. */
const MIN_GARBAGE = 256 * 1024;
/** Read and written at a time; in between others have their turn. */
const STRETCH = 1 << 20;

const sync = promisify(fsync);

/**
 * Is a file as it was written anew, with nothing in it but what the record holds? Its last line says so: whatever is
 * written later comes after it. After `read`.
 */
export function isAsRewritten({ file, size }: Journal, fold: RecordFold): boolean {
  const { offset, length } = fold.checkpoint;
  if (length === 0) return false;
  const bytes = Buffer.allocUnsafe(size - offset);
  const text = bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, offset));
  if (text.indexOf(NEWLINE) !== text.length - 1) return false;
  return checkpointOf(text, offset)?.base === true && isAsWritten(text);
}

/** Is most of a file what nobody will read again, or damaged? */
export function isWorthRewriting(journal: Journal, fold: RecordFold): boolean {
  if (journal.scrubbing) return true;
  if (journal.size < journal.notBefore) return false;
  if (journal.damaged) return true;
  const garbage = journal.size - fold.fieldBytes - fold.replies.bytes - fold.logBytes;
  return garbage > MIN_GARBAGE && garbage > journal.size / 2;
}

/**
 * Writes the journal anew, without what is gone: its kept entries, one a line, and a checkpoint. Crash-safe: the new
 * file is on the disk before it takes the place of the old one. Under the record's lock, all the time.
 * @param between called between stretches of work
 */
export async function rewrite(
  journal: Journal,
  fold: RecordFold,
  key: Pick<RecordKey, 'id' | 'scope'>,
  between: () => Promise<void>,
): Promise<void> {
  const temporary = `${journal.path}.tmp`;
  const file = createJournal(temporary);
  try {
    let size = 0;
    const write = (text: string): Buffer => {
      const bytes = Buffer.from(text);
      writeAll(file, bytes);
      size += bytes.length;
      return bytes;
    };
    const { logDropped: dropped } = fold;
    const first = dropped > 0 ? `{"from":${dropped}}\n` : '';
    write(headerLine(key, nextGeneration(fold), fold.createdAt) + first);
    const log = await copyEntries(journal, fold, write, between);
    journal.recall(fold.updatedAt);
    const last = fold.checkpointLine(size, { base: true }, log);
    const offset = size;
    const bytes = write(last);
    await sync(file);
    await between();
    fold.logTotal = log.total;
    fold.logBytes = log.bytes;
    fold.logOffset = 0;
    fold.checkpoint = { offset, length: bytes.length };
    journal.install(file, temporary, fold, bytes);
  } catch (error) {
    closeSync(file);
    rmSync(temporary, { force: true });
    throw error;
  }
  syncNow(dirname(journal.path));
}

async function copyEntries(
  journal: Journal,
  fold: RecordFold,
  write: (text: string) => void,
  between: () => Promise<void>,
): Promise<{ total: number; dropped: number; bytes: number; offset: number }> {
  const { logDropped: dropped } = fold;
  const end = journal.size;
  let { offset, position } = startOf(journal.file, end, fold, dropped);
  let total = dropped;
  let bytes = 0;
  for (let stretch = STRETCH; offset < end; ) {
    let text = '';
    const next = eachLine(journal.file, offset, Math.min(end, offset + stretch), (line) => {
      // One that cannot be read has been set aside.
      const { entries, from } = entriesOf(line) ?? { entries: [], from: undefined };
      for (const entry of entries) {
        if (position++ < dropped) continue;
        text += `{"m":${entry}}\n`;
        total++;
        bytes += Buffer.byteLength(entry) + 8;
      }
      if (from !== undefined) position = Math.max(position, from);
    });
    // A line that is longer than the stretch; or the last one, without its newline.
    stretch = next === offset ? stretch * 2 : STRETCH;
    if (next === offset && stretch > 2 * (end - offset) + STRETCH) break;
    offset = next;
    if (text !== '') write(text);
    await between();
  }
  return { total, dropped, bytes, offset: 0 };
}

function nextGeneration({ header }: RecordFold): string {
  return String(Number(header?.gen ?? 1) + 1);
}
