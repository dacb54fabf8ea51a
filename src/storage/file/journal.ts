import {
  closeSync,
  copyFileSync,
  fstatSync,
  ftruncateSync,
  futimesSync,
  openSync,
  readSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { crc32 } from 'node:zlib';
import { AgentUpError } from '../../errors.js';
import type { Token } from '../../json.js';
import type { Logger } from '../../logger.js';
import { isMissing } from './file-errors.js';
import { FORMAT, RecordFold } from './record-fold.js';

const NEWLINE = 10;
const CHUNK = 1 << 16;
/** Files up to this size are compared as a whole with what was folded before more of them is folded. */
const COMPARED = 1 << 20;

/** Longer than the tick of any file system's clock: two changes within it may leave the same time. */
const TICK_MS = 20;
/** Of a file, its first bytes: they hold its generation. */
const GENERATION_WITHIN = 64;

/** What a file was when it was folded: the same again means that nobody has written. */
interface Seen {
  readonly inode: number;
  readonly size: number;
  /** Of the last change to it. Unlike `mtime`, nobody can set it. */
  readonly ctime: number;
  /** So soon after that change that one more in the same tick would not show. */
  readonly racy: boolean;
}

/** The journal of one record: a file that grows by a line per commit, and what its lines come to. */
export class Journal {
  readonly path: string;
  readonly #logger: Logger;
  #fold: RecordFold | undefined;
  #seen: Seen | undefined;
  /** End of the last whole line that was folded, and the checksum of all before it. */
  #end = 0;
  #sum = 0;
  #reported = 0;

  constructor(path: string, logger: Logger) {
    this.path = path;
    this.#logger = logger;
  }

  /** Bytes of the file, as last seen. */
  get size(): number {
    return this.#end;
  }

  /**
   * The record as the file says now, from memory where nobody has written since.
   * @throws RECORD_CORRUPT when there is a file and not one line of it can be read
   */
  read(): RecordFold | undefined {
    let stats: Stats;
    try {
      stats = statSync(this.path);
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.forget();
      return undefined;
    }
    const seen = this.#seen;
    if (seen && seen.inode === stats.ino && seen.size === stats.size && seen.ctime === stats.ctimeMs) {
      if (!seen.racy) return this.#fold;
      // Removed and made again within a tick, a file may have the inode, size and time of the one before.
      if (this.#isSameGeneration()) {
        this.#note(stats, this.#end);
        return this.#fold;
      }
    }
    return this.#foldFile(seen !== undefined && seen.inode === stats.ino && stats.size > this.#end);
  }

  /** All log entries from one position to another, from the file. */
  entries(from: number, to: number): Token[] {
    const fold = new RecordFold();
    const found: Token[] = [];
    const file = openSync(this.path, 'r');
    try {
      // What others append meanwhile is none of the fold's; a compacted file has other sizes, and the same positions.
      const bound = fstatSync(file).ino === this.#seen?.inode ? this.#end : Number.POSITIVE_INFINITY;
      eachLine(file, 0, bound, (line) => {
        const total = fold.logTotal;
        const entries = fold.line(line);
        // The log was cleared, or begins with entries that were dropped: positions start over.
        let position = fold.logTotal - entries.length;
        if (position < total || fold.logTotal === 0) found.length = 0;
        for (const entry of entries) {
          if (position >= from && position < to) found.push(entry);
          position++;
        }
        fold.tail = [];
      });
    } finally {
      closeSync(file);
    }
    return found;
  }

  /**
   * Appends text that ends with a newline, under the record's lock, after `read`. All of it is written, or nothing.
   * `isNew`: the record begins here; what is left of a first commit that was never whole goes.
   */
  append(text: string, mtimeMs: number | undefined, isNew: boolean): void {
    const file = openSync(this.path, 'a+');
    try {
      const bytes = Buffer.from(text);
      if (isNew) {
        ftruncateSync(file, 0);
        this.#sum = 0;
      } else this.#mendTail(file);
      const start = fstatSync(file).size;
      try {
        for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
      } catch (error) {
        if (isNew) unlinkSync(this.path);
        else ftruncateSync(file, start);
        throw error;
      }
      if (mtimeMs !== undefined) futimesSync(file, mtimeMs / 1000, mtimeMs / 1000);
      this.#sum = crc32(bytes, this.#sum);
      this.#note(fstatSync(file), start + bytes.length);
    } catch (error) {
      this.forget();
      throw error;
    } finally {
      closeSync(file);
    }
  }

  /** The fold has been brought up to what was appended. */
  keep(fold: RecordFold): void {
    this.#fold = fold;
  }

  /** Puts a file that comes to the same in the place of the present one, in one step, under the record's lock. */
  replace(text: string, temporary: string, sync: (file: number) => void): void {
    const bytes = Buffer.from(text);
    const file = openSync(temporary, 'w');
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
      const { atimeMs, mtimeMs } = statSync(this.path);
      futimesSync(file, atimeMs / 1000, mtimeMs / 1000);
      sync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, this.path);
    this.#sum = crc32(bytes);
    this.#note(statSync(this.path), bytes.length);
  }

  remove(): void {
    unlinkSync(this.path);
    this.forget();
  }

  forget(): void {
    this.#fold = undefined;
    this.#seen = undefined;
    this.#end = 0;
    this.#sum = 0;
    this.#reported = 0;
  }

  #foldFile(onlyRest: boolean): RecordFold | undefined {
    const file = openSync(this.path, 'r');
    try {
      // Before the first byte is read, and not a byte behind: what others append meanwhile must be seen as new.
      const stats = fstatSync(file);
      const rest = onlyRest && this.#fold && this.#isStill(file) ? this.#fold : undefined;
      const damagedBefore = rest?.damaged.length ?? 0;
      const fold = rest ?? new RecordFold();
      const call = (line: string): void => void fold.line(line);
      const { end, sum } = eachLine(file, rest ? this.#end : 0, stats.size, call, rest ? this.#sum : 0);
      if (rest && rest.damaged.length > damagedBefore) {
        // Edited in place: what was folded is no longer what the file begins with.
        this.forget();
        return this.#foldFile(false);
      }
      const begun = fold.version > 0 || fold.header !== undefined;
      if (!begun && (end > 0 || !isTornHeader(file, stats.size))) this.#refuse(fold);
      if (fold.header && fold.header.agentup > FORMAT) throw this.#newer(fold.header.agentup);
      // Without one whole commit the first one was never acknowledged, and there is no record.
      this.#fold = fold.version === 0 && fold.damaged.length === 0 ? undefined : fold;
      this.#sum = sum;
      this.#note(stats, end);
      this.#report(fold);
      return this.#fold;
    } catch (error) {
      this.forget();
      throw error;
    } finally {
      closeSync(file);
    }
  }

  /** Does the file still begin with what was folded? It may be another one of this name, or edited in its place. */
  #isStill(file: number): boolean {
    if (this.#end > COMPARED) return this.#isSameGeneration();
    const start = Buffer.alloc(this.#end);
    return readSync(file, start, 0, this.#end, 0) === this.#end && crc32(start) === this.#sum;
  }

  /** A line without an end was never acknowledged, unless somebody edited the file and left the newline out. */
  #mendTail(file: number): void {
    const { size } = fstatSync(file);
    if (size === 0) return;
    const last = Buffer.alloc(1);
    readSync(file, last, 0, 1, size - 1);
    if (last[0] === NEWLINE) return;
    if (size === this.#end) this.#sum = crc32('\n', writeSync(file, '\n') && this.#sum);
    else ftruncateSync(file, this.#end);
  }

  /** Is the file the one that was folded, as far as its header says? */
  #isSameGeneration(): boolean {
    const gen = this.#fold?.header?.gen;
    if (gen === undefined) return false;
    const file = openSync(this.path, 'r');
    try {
      const start = Buffer.alloc(GENERATION_WITHIN);
      return start.toString('latin1', 0, readSync(file, start, 0, start.length, 0)).includes(`"gen":"${gen}"`);
    } finally {
      closeSync(file);
    }
  }

  #note({ ino, size, ctimeMs }: Stats, end: number): void {
    this.#seen = { inode: ino, size, ctime: ctimeMs, racy: Date.now() - ctimeMs < TICK_MS };
    this.#end = end;
  }

  #report(fold: RecordFold): void {
    if (fold.damaged.length <= this.#reported) return;
    this.#reported = fold.damaged.length;
    this.#logger.error(`RECORD_CORRUPT: lines ${fold.damaged.join(', ')} of ${this.path} cannot be read`, {
      copy: this.#setAside(),
    });
  }

  #refuse(fold: RecordFold): never {
    throw new AgentUpError('RECORD_CORRUPT', `no line of ${this.path} can be read`, {
      file: this.path,
      backend: 'file',
      line: fold.damaged[0] ?? 1,
      fix: `mend the file or remove it; a copy is at ${this.#setAside()}`,
    });
  }

  #setAside(): string {
    const copy = `${this.path}.corrupt-${new Date().toISOString().replaceAll(':', '-')}`;
    copyFileSync(this.path, copy);
    return copy;
  }

  #newer(format: number): AgentUpError {
    return new AgentUpError('RECORD_CORRUPT', `${this.path} is of format ${format}, which this version does not know`, {
      file: this.path,
      backend: 'file',
      fix: 'use the version of agentup that wrote it, or a later one',
    });
  }
}

/**
 * Calls for every line up to a position, also for a last one without a newline if it is whole. Returns where the
 * folded lines end, and the checksum of all up to there.
 */
function eachLine(
  file: number,
  from: number,
  to: number,
  call: (line: string) => void,
  before = 0,
): { end: number; sum: number } {
  /** Of the line that has begun: joined once, where it ends, or a long one would be copied with every chunk. */
  let begun: Buffer[] = [];
  let end = from;
  let sum = before;
  for (let at = from; at < to; ) {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK, to - at));
    const chunk = buffer.subarray(0, readSync(file, buffer, 0, buffer.length, at));
    if (chunk.length === 0) break;
    at += chunk.length;
    let start = 0;
    for (let stop = chunk.indexOf(NEWLINE); stop >= 0; stop = chunk.indexOf(NEWLINE, start)) {
      const tail = chunk.subarray(start, stop + 1);
      const line = begun.length === 0 ? tail : Buffer.concat([...begun, tail]);
      begun = [];
      if (line.length > 1) call(line.toString('utf8', 0, line.length - 1));
      sum = crc32(line, sum);
      end += line.length;
      start = stop + 1;
    }
    if (start < chunk.length) begun.push(chunk.subarray(start));
  }
  const rest = Buffer.concat(begun);
  if (rest.length > 0 && isWhole(rest)) {
    call(rest.toString('utf8'));
    end += rest.length;
    sum = crc32(rest, sum);
  }
  return { end, sum };
}

/** Is a file without one whole line what a writer of ours that died, or a full disk, left of the first one? */
function isTornHeader(file: number, size: number): boolean {
  const wanted = `{"agentup":${FORMAT},`;
  const start = Buffer.alloc(Math.min(size, wanted.length));
  readSync(file, start, 0, start.length, 0);
  return wanted.startsWith(start.toString('latin1'));
}

function isWhole(bytes: Buffer): boolean {
  try {
    const parsed: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof parsed === 'object' && parsed !== null;
  } catch {
    return false;
  }
}
