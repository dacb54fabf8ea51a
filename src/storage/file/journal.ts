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

/** What a file was when it was folded: the same again means that nobody has written. */
interface Seen {
  readonly inode: number;
  readonly size: number;
  readonly mtime: number;
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
    if (seen && seen.inode === stats.ino && seen.size === stats.size && seen.mtime === stats.mtimeMs) return this.#fold;
    return this.#foldFile(seen !== undefined && seen.inode === stats.ino && stats.size > this.#end);
  }

  /** All log entries from one position to another, from the file. */
  entries(from: number, to: number): Token[] {
    const fold = new RecordFold();
    const found: Token[] = [];
    const file = openSync(this.path, 'r');
    try {
      eachLine(file, 0, (line) => {
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
   */
  append(text: string, mtimeMs: number | undefined): void {
    const file = openSync(this.path, 'a+');
    try {
      const bytes = Buffer.from(text);
      this.#mendTail(file);
      const start = fstatSync(file).size;
      try {
        for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
      } catch (error) {
        ftruncateSync(file, start);
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

  /** Puts a file with this text in the place of the present one, in one step, under the record's lock. */
  replace(text: string, temporary: string, sync: (file: number) => void): void {
    const file = openSync(temporary, 'w');
    try {
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
      const { atimeMs, mtimeMs } = statSync(this.path);
      futimesSync(file, atimeMs / 1000, mtimeMs / 1000);
      sync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, this.path);
    this.forget();
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

  #foldFile(onlyRest: boolean): RecordFold {
    const file = openSync(this.path, 'r');
    try {
      const rest = onlyRest && this.#fold && this.#isStill(file) ? this.#fold : undefined;
      const damagedBefore = rest?.damaged.length ?? 0;
      const fold = rest ?? new RecordFold();
      const { end, sum } = eachLine(file, rest ? this.#end : 0, (line) => void fold.line(line), rest ? this.#sum : 0);
      if (rest && rest.damaged.length > damagedBefore) {
        // Edited in place: what was folded is no longer what the file begins with.
        this.forget();
        return this.#foldFile(false);
      }
      if (!fold.header && end > 0 && fold.version === 0) this.#refuse(fold);
      if (fold.header && fold.header.agentup > FORMAT) throw this.#newer(fold.header.agentup);
      this.#fold = fold;
      this.#sum = sum;
      this.#note(fstatSync(file), end);
      this.#report(fold);
      return fold;
    } catch (error) {
      this.forget();
      throw error;
    } finally {
      closeSync(file);
    }
  }

  /** Does the file still begin with what was folded? It may be another one of this name, or edited in its place. */
  #isStill(file: number): boolean {
    if (this.#end > COMPARED) return true;
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

  #note({ ino, size, mtimeMs }: Stats, end: number): void {
    this.#seen = { inode: ino, size, mtime: mtimeMs };
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
 * Calls for every line, also a last one without a newline if it is whole. Returns where the folded lines end, and the
 * checksum of all up to there.
 */
function eachLine(file: number, from: number, call: (line: string) => void, before = 0): { end: number; sum: number } {
  let rest = Buffer.alloc(0);
  let end = from;
  let sum = before;
  for (let at = from; ; ) {
    const chunk = Buffer.alloc(CHUNK);
    const count = readSync(file, chunk, 0, CHUNK, at);
    if (count === 0) break;
    at += count;
    rest = rest.length === 0 ? chunk.subarray(0, count) : Buffer.concat([rest, chunk.subarray(0, count)]);
    let start = 0;
    for (let stop = rest.indexOf(NEWLINE); stop >= 0; stop = rest.indexOf(NEWLINE, start)) {
      if (stop > start) call(rest.toString('utf8', start, stop));
      start = stop + 1;
    }
    sum = crc32(rest.subarray(0, start), sum);
    end += start;
    rest = rest.subarray(start);
  }
  if (rest.length > 0 && isWhole(rest)) {
    call(rest.toString('utf8'));
    end += rest.length;
    sum = crc32(rest, sum);
  }
  return { end, sum };
}

function isWhole(bytes: Buffer): boolean {
  try {
    const parsed: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof parsed === 'object' && parsed !== null;
  } catch {
    return false;
  }
}
