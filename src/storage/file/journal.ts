import { closeSync, fstatSync, ftruncateSync, readSync, renameSync, rmSync, type Stats, unlinkSync } from 'node:fs';
import type { Token } from '../../json.js';
import type { Logger } from '../../logger.js';
import { reportDamage, reportTorn, unreadable } from './damage.js';
import { isMissing } from './file-errors.js';
import { createJournal, openJournal, ROUNDING_MS, stamp, writeAll } from './journal-file.js';
import { closeLater } from './lent-files.js';
import { BEGINNING, CHECKPOINT, FORMAT, NEWLINE } from './line-format.js';
import { eachLine, readEntries } from './log-pages.js';
import { newerFormat } from './process-files.js';
import { quickFold } from './quick-fold.js';
import { RECENT_MS } from './recent-commits.js';
import { RecordFold } from './record-fold.js';
import type { Glimpse } from './record-glimpses.js';
import { statOf } from './stat-of.js';

/** The same where nobody is to be suspected lightly: of files of another user, which cannot be given their time. */
const FOREIGN_MS = 100;
/** How much of the end of what is known is compared before the rest is read. */
const PROBE = 48;
const LINE_END = 10;

/** The journal of one record: a file that grows by a line per commit, and what its lines come to. */
export class Journal {
  readonly path: string;
  readonly #logger: Logger;
  readonly #times: { readonly timeSlack: number };
  #fold: RecordFold | undefined;
  #file = -1;
  #inode = 0;
  /** End of the last line that was folded; what follows was torn off while it was written. */
  #end = 0;
  #size = 0;
  /** The last line has no newline: somebody has edited the file. */
  #open = false;
  /** The last bytes that were folded. */
  #probe: Buffer = Buffer.alloc(0);
  #time = 0;
  #edited = false;
  #damaged = false;

  /** @param times how exactly the file system keeps them */
  constructor(path: string, logger: Logger, times: { readonly timeSlack: number }) {
    this.path = path;
    this.#logger = logger;
    this.#times = times;
  }

  /** About how much memory this takes. */
  get weight(): number {
    const fold = this.#fold;
    return fold ? fold.fieldBytes + fold.replies.bytes + fold.tail.reduce((sum, entry) => sum + entry.length, 0) : 0;
  }

  /** What is known of the record, and of which state of the file; nothing where not all of that can be read. */
  get glimpse(): Glimpse | undefined {
    const fold = this.#fold;
    if (!fold || fold.version === 0 || this.#damaged) return undefined;
    const { owner, createdAt, updatedAt, expiresAt } = fold;
    return { inode: this.#inode, size: this.#size, mtimeMs: this.#time, owner, createdAt, updatedAt, expiresAt };
  }

  /** Bytes of the file that count. */
  get size(): number {
    return this.#end;
  }

  /** Where the next line will begin. */
  get next(): number {
    return this.#open ? this.#end + 1 : this.#end;
  }

  /** Somebody has edited the file, and no checkpoint says so yet. */
  get edited(): boolean {
    return this.#edited;
  }

  /** How often it has been written. */
  writes = 0;
  /** Until it is larger than this, writing it anew is not tried again. */
  notBefore = 0;
  /** It is to be written anew whatever its size, so that nothing is left of what is gone. */
  scrubbing = false;

  /** Lines of the file cannot be read. */
  get damaged(): boolean {
    return this.#damaged;
  }

  /**
   * The record as the file says now, from memory where nobody has written since. Needs no lock.
   * @throws RECORD_CORRUPT when there is a file and not one line of it can be read
   */
  read(): RecordFold | undefined {
    const stats = statOf(this.path);
    if (stats === undefined) {
      this.close();
      return undefined;
    }
    if (stats.ino !== this.#inode || (this.#file < 0 && !this.#reopen())) this.#load('quick');
    else if (stats.size > this.#size) this.#foldRest(stats);
    else if (stats.size < this.#size) this.#load('touched');
    else if (Math.abs(stats.mtimeMs - this.#time) > ROUNDING_MS) this.#sameSize(stats);
    const fold = this.#fold;
    return fold && fold.version > 0 ? fold : undefined;
  }

  /** Log entries from one position to another, from the file. After `read`. */
  entries(from: number, to: number): Token[] {
    if (!this.#fold) return [];
    const found = readEntries(this.#file, this.#end, this.#fold, [from, to], !this.#damaged);
    if (found) return found;
    // Opening the file from its end has passed over a damaged line: it is reported, as it would be from the start.
    this.#load('told');
    return (this.#fold && readEntries(this.#file, this.#end, this.#fold, [from, to], false)) ?? [];
  }

  /** Finds out the ids of all commits of the last minute. After `read`. */
  recall(now: number): void {
    const fold = this.#fold;
    if (!fold || fold.recent.since <= now - RECENT_MS) return;
    const older = quickFold(this.#file, this.#end, now - RECENT_MS)?.fold ?? this.#foldAll(this.#end).fold;
    fold.recent.addAll(older.recent);
    fold.recent.since = 0;
  }

  /** Appends lines, under the record's lock, after `read`. All of it is written, or nothing. `at`: of the last line. */
  append(text: string, at: number): void {
    this.#cutTornTail();
    const size = this.#size;
    const bytes = Buffer.from(this.#open ? NEWLINE + text : text);
    try {
      writeAll(this.#file, bytes);
      const time = stamp(this.#file, at, this.#times.timeSlack === 0);
      this.#end += bytes.length;
      this.#wrote(bytes, time);
    } catch (error) {
      this.#rollBack(size);
      throw error;
    }
  }

  /** Makes the file anew with these lines, in one step, under the record's lock. `fold` is what they come to. */
  create(text: string, fold: RecordFold): void {
    if (this.#size > 0 && this.#fold?.version === 0) reportTorn(this.path, this.#logger);
    const bytes = Buffer.from(text);
    const temporary = `${this.path}.tmp`;
    const file = createJournal(temporary);
    try {
      writeAll(file, bytes);
      this.install(file, temporary, fold, bytes);
    } catch (error) {
      closeSync(file);
      rmSync(temporary, { force: true });
      throw error;
    }
  }

  /** Puts a file that has been written beside this one in its place. `bytes` is its end, `fold` what it comes to. */
  install(file: number, temporary: string, fold: RecordFold, bytes: Buffer): void {
    const { ino, size } = fstatSync(file);
    const time = stamp(file, fold.updatedAt, this.#times.timeSlack === 0);
    renameSync(temporary, this.path);
    // Nothing fails from here on: who fails has not put it there.
    this.close();
    this.scrubbing = false;
    this.#file = file;
    this.#inode = ino;
    this.#fold = fold;
    this.#end = size;
    this.#wrote(bytes, time);
  }

  /** The file itself, for who rewrites it, or brings it to the disk; negative where it is not open. After `read`. */
  get file(): number {
    return this.#file;
  }

  remove(): void {
    try {
      unlinkSync(this.path);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    this.close();
  }

  /** Frees the descriptor, and keeps what is known. */
  rest(): void {
    const file = this.#file;
    // A file is closed, also where that fails: its number may be of another one at once.
    this.#file = -1;
    if (file >= 0) closeLater(file);
  }

  /** Frees the descriptor, and forgets. The journal may be used again. */
  close(): void {
    this.rest();
    this.#inode = 0;
    this.#fold = undefined;
    this.#end = this.#size = 0;
    this.#open = this.#edited = this.#damaged = false;
  }

  /** An edited checkpoint has been written. */
  settled(): void {
    this.#edited = false;
  }

  #load(how: 'quick' | 'touched' | 'told'): void {
    this.close();
    try {
      this.#file = openJournal(this.path);
    } catch (error) {
      if (isMissing(error)) return;
      throw error;
    }
    try {
      const stats = fstatSync(this.#file);
      this.#inode = stats.ino;
      const quick = how === 'quick' ? quickFold(this.#file, stats.size) : undefined;
      const fold = quick && this.#foldLast(quick.fold, quick.end, stats.size);
      if (fold && !this.#isTouched(stats, fold)) this.#fold = fold;
      else this.#fold = this.#replay(stats, how === 'touched');
      const { agentup } = this.#fold.header ?? { agentup: 0 };
      if (agentup > FORMAT) throw newerFormat(this.path, agentup);
      this.#see(stats);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Folds the whole file. Checkpoints in it count for nothing where the lines can tell: those may have been edited. */
  #replay(stats: Stats, touched: boolean): RecordFold {
    const { fold, end, damaged } = this.#foldAll(stats.size);
    this.#foldLast(fold, end, stats.size);
    this.#damaged = damaged.length > 0;
    if (fold.version === 0 && stats.size > 0 && !this.#isBeginning(fold)) throw unreadable(this.path, this.#logger);
    if (this.#damaged) reportDamage(this.path, damaged, this.#logger);
    this.#edited = fold.checkpoint.length > 0 && (touched || this.#isTouched(stats, fold));
    return fold;
  }

  /** Opens the file again. False where it is another one by now. */
  #reopen(): boolean {
    if (!this.#fold) return false;
    try {
      this.#file = openJournal(this.path);
      return fstatSync(this.#file).ino === this.#inode;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  /** The time of the file has changed, its size has not. */
  #sameSize({ mtimeMs }: Stats): void {
    if (Math.abs(mtimeMs - (this.#fold?.updatedAt ?? 0)) > ROUNDING_MS + this.#times.timeSlack) this.#load('touched');
    else {
      // We had read it in the moment between a write and the stamp that goes with it.
      this.#time = mtimeMs;
      this.#edited = false;
    }
  }

  /** Is there nothing but the first line, or what was torn off it? */
  #isBeginning({ header }: RecordFold): boolean {
    if (this.#damaged) return false;
    if (header) return true;
    const bytes = Buffer.alloc(BEGINNING.length);
    return (
      this.#end === 0 &&
      BEGINNING.startsWith(bytes.toString('utf8', 0, readSync(this.#file, bytes, 0, bytes.length, 0)))
    );
  }

  #foldAll(size: number): { fold: RecordFold; end: number; damaged: number[] } {
    const fold = new RecordFold();
    const damaged: number[] = [];
    let number = 0;
    const end = eachLine(this.#file, 0, size, (line, offset) => {
      number++;
      const text = offset === 0 && line.startsWith('\uFEFF') ? line.slice(1) : line;
      if (!fold.line(text, offset, 'replay')) damaged.push(number);
    });
    return { fold, end, damaged };
  }

  /** Folds what has been appended since; or all of it, where that is not all that has happened. */
  #foldRest(stats: Stats): void {
    const fold = this.#fold;
    const known = this.#probe.length;
    const probe = Buffer.alloc(known + 1);
    const count = readSync(this.#file, probe, 0, probe.length, this.#end - known);
    const same = known > 0 && probe.subarray(0, known).equals(this.#probe);
    if (!fold || !same || (this.#open && (count <= known || probe[known] !== LINE_END))) {
      this.#load('touched');
      return;
    }
    let told = false;
    let sound = true;
    const end = eachLine(this.#file, this.#end, stats.size, (line, offset) => {
      told = line.startsWith(CHECKPOINT) && line.includes('"edited":true');
      sound = !told && fold.line(line, offset, 'trust');
      return sound;
    });
    if (!sound) {
      this.#load(told ? 'told' : 'quick');
      return;
    }
    this.#open = false;
    this.#foldLast(fold, end, stats.size);
    // Who adds lines by hand may have changed others too. A writer leaves the time of its last line, if not at once.
    const late = Math.abs(stats.mtimeMs - fold.updatedAt) - this.#times.timeSlack > FOREIGN_MS;
    if (late && this.#end === stats.size) this.#load('touched');
    else this.#see(stats);
  }

  /** A last line without a newline counts if it is whole: nothing that is torn off is. */
  #foldLast(fold: RecordFold, end: number, size: number): RecordFold {
    this.#end = end;
    if (size <= end) return fold;
    const rest = Buffer.alloc(size - end);
    const text = rest.toString('utf8', 0, readSync(this.#file, rest, 0, rest.length, end)).trimEnd();
    if (text !== '' && !fold.line(text, end, 'replay')) return fold;
    this.#end = size;
    this.#open = true;
    return fold;
  }

  #see({ size, mtimeMs }: Stats): void {
    this.#size = size;
    this.#time = mtimeMs;
    this.#probe = Buffer.alloc(Math.min(PROBE, this.#end));
    readSync(this.#file, this.#probe, 0, this.#probe.length, this.#end - this.#probe.length);
  }

  #wrote(bytes: Buffer, time: number): void {
    this.writes++;
    this.#open = false;
    this.#size = this.#end;
    this.#probe = bytes.subarray(-PROBE);
    this.#time = time;
  }

  /** Has somebody else written to this file since its last line was? */
  #isTouched({ mtimeMs, uid }: Stats, { updatedAt }: RecordFold): boolean {
    const difference = Math.abs(mtimeMs - updatedAt) - this.#times.timeSlack;
    return difference > ROUNDING_MS && (difference > FOREIGN_MS || uid === process.geteuid?.());
  }

  #rollBack(size: number): void {
    try {
      ftruncateSync(this.#file, size);
    } catch {
      // The next writer cuts it off: it is no whole line.
    }
    this.close();
  }

  #cutTornTail(): void {
    if (this.#size <= this.#end) return;
    reportTorn(this.path, this.#logger);
    ftruncateSync(this.#file, this.#end);
    this.#size = this.#end;
  }
}
