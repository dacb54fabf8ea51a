import {
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  linkSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { clearInterval, setInterval, setTimeout } from 'node:timers';
import { isMissing } from './file-errors.js';
import { isShared } from './shared-file-systems.js';
import { BUSY_AT, namesOf, SOLE, soleText, UNTIL_AT, untilText, uptimeMs, VOUCHED_MS } from './sole-mark.js';
import { statOf } from './stat-of.js';

/** With less than this left of what they are vouched for, that is renewed. */
const RENEW_MS = 4_000;
/** As long as there are leases, so often it is looked whether another process has come. */
const LOOK_MS = 20;
/** When a mark that could not be removed is tried again. */
const CLEAR_AGAIN_MS = 100;
/** Names of the state of a process that nobody has asked: its own, and the mark. */
const UNASKED = 2;
const YES = Buffer.from('1');
const NO = Buffer.from('0');

/** The leases that a process has given while it wrote alone, without a file for any of them. */
export interface UnwrittenLeases {
  readonly size: number;
  /** Forgets those that have ended and that nobody has asked for. */
  tidy(): void;
  /** Takes up those of this process that have files, which go. */
  adopt(): void;
  /** Makes files of them. Those that are not done while `valid` answers true are lost. */
  publish(valid: () => boolean): void;
  /** Nobody will ever ask for them. */
  drop(): void;
}

/** The processes of this one that write alone, by their mark: storages of one process need not wait for each other. */
const here = new Map<string, SoleWriter>();

/**
 * Writing without locks and without files for leases, as the only process that writes into a directory (a biased
 * lock). Another one that comes asks by giving a further name to this one's state, so that one look at the number of
 * names tells it: whoever writes says first that he is busy, and then looks. So the other one, who asks first and looks
 * then whether anybody is busy, is either seen or sees.
 */
export class SoleWriter {
  readonly #directory: string;
  readonly #mark: string;
  readonly #path: string;
  readonly #name: string;
  readonly #text: string;
  #leases: UnwrittenLeases | undefined;
  #file = -1;
  /** What others have been told, and nobody had asked by then. */
  #until = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Somebody has removed the mark: others may write as if this one were not there, until it has joined them anew. */
  removed = false;
  /** The mark could not be removed yet. */
  #stale = false;

  /** @param directory the one of the processes */
  constructor(directory: string, nonce: string, ownerText: string) {
    this.#directory = directory;
    this.#mark = `${directory}/${SOLE}`;
    this.#name = nonce;
    this.#path = `${directory}/${nonce}.sole`;
    this.#text = soleText(ownerText);
  }

  /** Has the writer with this mark, if it is one of this process, write alone no longer. */
  static endHere(mark: string): void {
    here.get(mark)?.leave();
  }

  get held(): boolean {
    return this.#file >= 0;
  }

  /** Has somebody asked, or removed what is ours? While `held`. */
  get asked(): boolean {
    return namesOf(this.#file) !== UNASKED;
  }

  set leases(leases: UnwrittenLeases) {
    this.#leases = leases;
  }

  /** Puts the mark. It counts once nobody else is found to write. False where there is one, or it cannot be put. */
  take(): boolean {
    if (this.#stale) return false;
    let file = -1;
    try {
      if (isShared(this.#directory)) return false;
      file = openSync(this.#path, 'w+');
      // Whoever may make files in the directory is to be able to ask.
      const { mode, gid } = statSync(this.#directory);
      const others = mode & 0o022;
      const own = fstatSync(file);
      // Larger numbers come rounded, and would not tell whose mark one is.
      if (!Number.isSafeInteger(own.ino)) throw new RangeError('inode');
      if (others !== 0 && own.gid !== gid) fchownSync(file, -1, gid);
      fchmodSync(file, 0o600 | others | (others << 1));
      writeSync(file, this.#text, 0);
      linkSync(this.#path, this.#mark);
    } catch {
      // Locks do as well.
      if (file >= 0) closeSync(file);
      rmSync(this.#path, { force: true });
      return false;
    }
    this.#file = file;
    this.#until = 0;
    here.set(this.#mark, this);
    return true;
  }

  /** Nobody else writes. False where somebody has come at this moment, or the file system does not count names. */
  begin(): boolean {
    if (!this.vouch(false)) return false;
    try {
      this.#leases?.adopt();
    } catch {
      this.leave();
    }
    return this.held;
  }

  /** Begins to write. Nothing is awaited before `exit`. False where locks are needed. */
  enter(): boolean {
    if (this.#file < 0) return false;
    try {
      writeSync(this.#file, YES, 0, 1, BUSY_AT);
      if (!this.asked) return true;
      writeSync(this.#file, NO, 0, 1, BUSY_AT);
    } catch (error) {
      this.leave();
      throw error;
    }
    this.leave();
    return false;
  }

  exit(): void {
    try {
      writeSync(this.#file, NO, 0, 1, BUSY_AT);
    } catch {
      // Nobody could tell that we are not writing; without the mark they need not.
      this.#leaveInSilence();
    }
  }

  /** May a lease be given without a file? Between `enter` and `exit` nobody can ask meanwhile. */
  vouch(entered: boolean): boolean {
    if (this.#file < 0) return false;
    const now = uptimeMs();
    const until = this.#until - now < RENEW_MS ? now + VOUCHED_MS : this.#until;
    if (until !== this.#until) {
      // Once a second at most: there may be many.
      this.#leases?.tidy();
      this.#say(until);
    }
    if (!entered && this.asked) {
      this.leave();
      return false;
    }
    this.#until = until;
    this.#timer ??= setInterval(this.#look, LOOK_MS).unref();
    return true;
  }

  /** Writes alone no longer: leases get their files, and then the mark goes. */
  leave({ publishing = true }: { readonly publishing?: boolean } = {}): void {
    if (this.#file < 0) return;
    const file = this.#file;
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (here.get(this.#mark) === this) here.delete(this.#mark);
    this.removed = true;
    try {
      this.removed = !this.#isMarked(file);
      if (publishing && !this.removed && this.#leases?.size) {
        this.#renewUnasked();
        this.#file = -1;
        this.#leases.publish(() => uptimeMs() < this.#until);
      }
    } finally {
      this.#file = -1;
      this.#leases?.drop();
      this.#clear(file);
    }
  }

  /** Who stood still for long and was not asked has lost nothing. */
  #renewUnasked(): void {
    const until = uptimeMs() + VOUCHED_MS;
    try {
      this.#say(until);
      if (!this.asked) this.#until = until;
    } catch {
      // What others have been told before holds.
    }
  }

  #leaveInSilence(): void {
    try {
      this.leave();
    } catch {
      // It happens to the next one who writes, too, and is reported there; the mark is tried again.
    }
  }

  readonly #look = (): void => {
    try {
      if (this.asked) this.leave();
      else if (this.#leases?.size) this.vouch(false);
      else {
        this.#say(0);
        clearInterval(this.#timer);
        this.#timer = undefined;
        this.#until = 0;
      }
    } catch {
      // It has happened to the next one who writes, too, and is reported there.
    }
  };

  #say(until: number): void {
    const bytes = Buffer.from(untilText(until));
    writeSync(this.#file, bytes, 0, bytes.length, UNTIL_AT);
  }

  #isMarked(file: number): boolean {
    return statOf(this.#mark)?.ino === fstatSync(file).ino;
  }

  /** Others would wait for one who seems to write: until its mark is gone it is tried again. */
  #clear(file: number): void {
    try {
      if (this.#isMarked(file)) unlink(this.#mark);
    } catch {
      this.#stale = true;
      setTimeout(() => this.#clear(file), CLEAR_AGAIN_MS).unref();
      return;
    }
    this.#stale = false;
    try {
      closeSync(file);
      // Nobody can ask any more.
      for (const name of readdirSync(this.#directory)) {
        if (name.startsWith(`${this.#name}.asked-`)) unlink(`${this.#directory}/${name}`);
      }
      unlink(this.#path);
    } catch {
      // They are in nobody's way, and go with the next ones, or with this process.
    }
  }
}

function unlink(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}
