import {
  closeSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { AgentUpError } from '../../errors.js';
import { LONG_SILENCE_MS } from './dead-marks.js';
import { codeOf, fileError, isMissing } from './file-errors.js';
import { FORMAT } from './line-format.js';
import { makeDirectory } from './make-directory.js';
import { NEW, OtherProcesses } from './other-processes.js';
import { type Owner, thisOwner } from './process-owner.js';
import { statOf } from './stat-of.js';
import { WriteAccess } from './write-access.js';

/** The directory with the files of the processes that use a storage. */
const PROCESSES = '.processes';

/** What a file system without hard links answers. */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

/** A time that needs milliseconds; and the coarsest that file systems keep instead (FAT, two seconds). */
const SOME_TIME = 1_767_225_601_234;
const COARSE_MS = 2_000;
/** Longer than anything a lease says. */
const SPARE_SIZE = 512;

/** A file that holds a lease: linked to where the lease is, written anew for the next. */
export interface Spare {
  readonly path: string;
  readonly file: number;
  readonly inode: number;
}

/**
 * The files of one storage instance beside the records. Locks and leases are hard links to them: a link appears
 * whole or not at all, says who made it, and costs a fifth of a new file, or a fiftieth when the disk is busy.
 */
export class ProcessFiles {
  readonly me: Owner = thisOwner();
  readonly #root: string;
  readonly #directory: string;
  readonly #ownerFile: string;
  /** The owner as JSON. */
  readonly meText: string;
  readonly #text: string;
  readonly #spares: Spare[] = [];
  readonly #all: Spare[] = [];
  /** How this process may write. */
  readonly access: WriteAccess;
  readonly #now: () => number;
  /** Called when somebody has removed the files of this process. */
  onRemoved: (() => void) | undefined;
  #entered = false;
  /** There may be an owner file. */
  #written = false;
  /** When it last entered, on the machine's clock. */
  #enteredAt = 0;
  #checked = false;
  #inode = 0;
  #links = true;
  #timeSlack = 0;

  /** @param now of the storage: what leases end by */
  constructor(root: string, now: () => number) {
    this.#root = root;
    this.#now = now;
    this.#directory = join(root, PROCESSES);
    this.#ownerFile = join(this.#directory, this.me.nonce);
    this.meText = JSON.stringify(this.me);
    this.#text = `${this.meText}\n`;
    const others = new OtherProcesses(this.#directory, this.me.nonce, now, this.mark);
    this.access = new WriteAccess(this.#directory, this.me, () => others.live(), this.mark);
  }

  /** By how much the time that a file was given may differ from the one that it has then, in milliseconds. */
  get timeSlack(): number {
    return this.#timeSlack;
  }

  /** Does this file system have hard links? Where it has none leases are taken under the lock only. */
  get linking(): boolean {
    return this.#links;
  }

  /**
   * Looks whether this directory is one that this version understands. Reading needs no more.
   * @throws RECORD_CORRUPT when a later version has made it
   */
  check(): void {
    if (this.#checked) return;
    const path = join(this.#root, 'agentup.json');
    let format: unknown;
    try {
      format = (JSON.parse(readFileSync(path, 'utf8')) as { format?: unknown }).format;
    } catch (error) {
      // Empty after a power cut; it says nothing that could be lost.
      if (isMissing(error) || error instanceof SyntaxError) return;
      throw fileError(error, path);
    }
    if (typeof format === 'number' && format > FORMAT) throw newerFormat(path, format);
    this.#checked = true;
  }

  /**
   * Makes what writing needs: the directory, and the owner file. Nothing after the first time, but after so long that
   * others may soon take this process for gone: who writes alone leaves no other trace of it than in its own files.
   */
  enter(): void {
    const now = Date.now();
    if (this.#entered && now - this.#enteredAt < LONG_SILENCE_MS / 2 && !this.access.sole.removed) return;
    this.access.sole.leave();
    // Whatever fails from here on: nobody writes who has not joined the others.
    this.#entered = false;
    makeDirectory(this.#directory);
    this.check();
    if (!this.#checked) writeFileSync(join(this.#root, 'agentup.json'), `{"format":${FORMAT}}\n`);
    this.#writeOwner();
    utimesSync(this.#ownerFile, SOME_TIME / 1000, SOME_TIME / 1000);
    const { ino, mtimeMs } = statSync(this.#ownerFile);
    this.#inode = ino;
    this.#timeSlack = Math.abs(mtimeMs - SOME_TIME) < 0.1 ? 0 : COARSE_MS;
    // Larger ones come rounded, and would not tell one file from the next.
    if (!Number.isSafeInteger(this.#inode)) this.#links = false;
    this.access.join();
    this.#entered = true;
    this.#enteredAt = now;
  }

  #writeOwner(): void {
    this.#written = true;
    if (!statOf(this.#ownerFile)) this.#replaceOwner(this.#text);
  }

  /** Whole or not at all: one who is stopped in the middle of it would be nobody. */
  #replaceOwner(text: string): void {
    writeFileSync(`${this.#ownerFile}${NEW}`, text);
    renameSync(`${this.#ownerFile}${NEW}`, this.#ownerFile);
  }

  /** Something is missing. Where it is our files, that somebody has removed, the next `enter` makes them again. */
  missing(): void {
    if (this.#entered && !statOf(this.#ownerFile)) this.onRemoved?.();
    this.#entered = false;
    this.#checked = false;
    this.#spares.length = 0;
  }

  /** Makes `path` a mark of this process. False where one is there already. */
  readonly mark = (path: string): boolean => {
    try {
      if (this.#links) linkSync(this.#ownerFile, path);
      else writeFileSync(path, this.#text, { flag: 'wx' });
      return true;
    } catch (error) {
      const code = codeOf(error);
      if (code === 'EEXIST') return false;
      if (!this.#links || code === undefined || !NO_LINKS.has(code)) throw error;
      this.#links = false;
      return this.mark(path);
    }
  };

  /** Is the mark at `path` still the one of this process? */
  isMine(path: string): boolean {
    const there = statOf(path);
    if (there === undefined) return false;
    return this.#links ? there.ino === this.#inode : readFileSync(path, 'utf8') === this.#text;
  }

  /** Shows to those who cannot see this process that it lives, while it holds a mark for long. */
  touch(path: string): void {
    const now = new Date();
    utimesSync(this.#links ? this.#ownerFile : path, now, now);
  }

  /**
   * Puts a file with this text at `path`, unless there is one, or the file system has no links.
   * @returns the file, to be given back by `giveBack` once it stands there no longer; or `undefined`
   */
  place(path: string, text: string): Spare | undefined {
    if (!this.#links) return undefined;
    const spare = this.#spares.pop() ?? this.#newSpare();
    try {
      this.rewrite(spare, text);
      linkSync(spare.path, path);
      return spare;
    } catch (error) {
      const code = codeOf(error);
      // Also where the disk is full: each begin would otherwise leave an open file behind.
      this.#spares.push(spare);
      if (code === 'EEXIST') return undefined;
      if (code === undefined || !NO_LINKS.has(code)) throw error;
      this.#links = false;
      return undefined;
    }
  }

  /** Writes another text where a spare stands. */
  rewrite(spare: Spare, text: string): void {
    // What was there before was as long: blanks do not change what the text says.
    const bytes = Buffer.from(`${text.padEnd(SPARE_SIZE - 1)}\n`);
    writeSync(spare.file, bytes, 0, bytes.length, 0);
  }

  giveBack(spare: Spare): void {
    if (this.#entered) this.#spares.push(spare);
  }

  /**
   * Removes the files of this process. Leases that are out stay where they are, and say who has them.
   * @param leasesUntil until when others must look for such leases
   * @returns what failed, where all has been done that could be
   */
  leave(leasesUntil = 0): unknown[] {
    const failures: unknown[] = [];
    const attempt = (action: () => void): void => {
      try {
        action();
      } catch (error) {
        failures.push(error);
      }
    };
    for (const { path, file } of this.#all) {
      attempt(() => closeSync(file));
      attempt(() => rmSync(path, { force: true }));
    }
    this.#all.length = 0;
    this.#spares.length = 0;
    if (leasesUntil > this.#now()) {
      attempt(() => this.#replaceOwner(`${JSON.stringify({ ...this.me, leasesUntil })}\n`));
    } else if (this.#written) {
      for (const end of ['', NEW]) attempt(() => rmSync(`${this.#ownerFile}${end}`, { force: true }));
    }
    this.#entered = false;
    return failures;
  }

  #newSpare(): Spare {
    const path = `${this.#ownerFile}.lease${this.#all.length}`;
    const file = openSync(path, 'w+');
    const spare = { path, file, inode: statSync(path).ino };
    this.#all.push(spare);
    return spare;
  }
}

/** The error for files of a later version. */
export function newerFormat(file: string, format: number): AgentUpError {
  return new AgentUpError('RECORD_CORRUPT', `${file} is of format ${format}, which this version does not know`, {
    backend: 'file',
    file,
    fix: 'use the version of agentup that wrote it, or a later one',
  });
}
