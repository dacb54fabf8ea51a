import { dirname } from 'node:path';
import { fileError, isMissing } from './file-errors.js';
import type { Journal } from './journal.js';
import { makeDirectory } from './make-directory.js';
import type { ProcessFiles } from './process-files.js';
import type { RecordFold } from './record-fold.js';
import { RecordLock } from './record-lock.js';

/** Work on one record that needs its lock. */
export interface Task {
  /** Done under the lock. What it stages is written together with what others stage. */
  run(desk: RecordDesk): void;
  fail(error: unknown): void;
}

/** What a task has staged: to be written, and what follows once it is. */
export interface Staged {
  readonly text: string;
  readonly written: () => void;
  readonly fail: (error: unknown) => void;
}

/**
 * The work of this process on one record, one after the other under the record's lock: what comes in one tick shares
 * one lock and one write.
 */
export class RecordDesk {
  readonly journal: Journal;
  readonly lock: RecordLock;
  readonly #files: ProcessFiles;
  readonly #tasks: Task[] = [];
  #staged: Staged[] = [];
  #at = 0;
  #working = false;

  readonly #first: (desk: RecordDesk) => void;
  #met = false;
  readonly #after: (desk: RecordDesk, fold: RecordFold) => Promise<void> | undefined;
  #fold: RecordFold | undefined;
  #next = 0;

  /**
   * @param first called once, under the lock, before anything else
   * @param after called under the lock when all is written and acknowledged, for work that others need not wait for
   */
  constructor(
    journal: Journal,
    files: ProcessFiles,
    first: (desk: RecordDesk) => void,
    after: (desk: RecordDesk, fold: RecordFold) => Promise<void> | undefined,
  ) {
    this.journal = journal;
    this.lock = new RecordLock(journal.path, files);
    this.#files = files;
    this.#first = first;
    this.#after = after;
  }

  /** Nothing waits here, and nothing is being done. */
  get idle(): boolean {
    return !this.#working;
  }

  /** Where the next line will begin, after all that is staged. */
  get next(): number {
    return this.#next;
  }

  /** The record as it will be when all that is staged is written. Under the lock. */
  read(): RecordFold | undefined {
    if (this.#staged.length === 0) {
      this.#fold = this.journal.read();
      this.#next = this.journal.next;
    }
    return this.#fold;
  }

  /** Makes the record anew. `fold` is what the text comes to. */
  create(text: string, fold: RecordFold): void {
    this.flush();
    this.lock.assertHeld();
    this.journal.create(text, fold);
    this.#fold = fold;
  }

  /** Removes the record. */
  remove(): void {
    this.flush();
    this.lock.assertHeld();
    this.journal.remove();
    this.#fold = undefined;
  }

  add(task: Task): void {
    this.#tasks.push(task);
    if (this.#working) return;
    this.#working = true;
    queueMicrotask(() => void this.#work());
  }

  /** Puts lines down to be written; `at` is the time of the last. */
  stage(staged: Staged, at: number): void {
    this.#staged.push(staged);
    this.#at = at;
    this.#next += Buffer.byteLength(staged.text);
  }

  /** Writes what is staged, in one go. False where that failed, and everybody has been told. */
  flush(): boolean {
    const staged = this.#staged;
    if (staged.length === 0) return true;
    this.#staged = [];
    try {
      this.lock.assertHeld();
      let text = '';
      for (const one of staged) text += one.text;
      this.journal.append(text, this.#at);
    } catch (error) {
      // Staging has changed what is in memory, also which commits are known to have been applied.
      this.journal.close();
      this.#fold = undefined;
      for (const { fail } of staged) fail(error);
      return false;
    }
    for (const { written, fail } of staged) {
      try {
        written();
      } catch (error) {
        fail(error);
      }
    }
    return true;
  }

  async #work(): Promise<void> {
    while (this.#tasks.length > 0) {
      try {
        if (!this.#tryLock()) await this.lock.take(() => this.#tryLock());
        // Known from an earlier lock: others may have written since.
        this.#fold = undefined;
      } catch (error) {
        for (const task of this.#tasks.splice(0)) task.fail(fileError(error, this.journal.path));
        continue;
      }
      try {
        if (!this.#met) this.#first(this);
        this.#met = true;
        for (let task = this.#tasks.shift(); task; task = this.#tasks.shift()) {
          try {
            task.run(this);
          } catch (error) {
            task.fail(error);
          }
        }
        this.flush();
        const more = this.#fold && this.#after(this, this.#fold);
        if (more) await more;
      } finally {
        this.lock.release();
      }
    }
    this.#working = false;
  }

  #tryLock(): boolean {
    for (let tries = 0; ; tries++) {
      try {
        this.#files.enter();
        this.#files.access.retry();
        return this.lock.tryTake();
      } catch (error) {
        if (!isMissing(error) || tries === 4) throw error;
        // The directory is new; or somebody has removed all there was.
        if (tries > 0) this.#files.missing();
        makeDirectory(dirname(this.journal.path));
      }
    }
  }
}
