import { rmSync } from 'node:fs';
import type { Logger } from '../../logger.js';
import { syncNow } from './durability.js';
import { Journal } from './journal.js';
import { compactedText } from './journal-lines.js';
import type { RecordFold } from './record-fold.js';

/** Records whose folded state is kept in memory. */
const CACHED = 1_000;
/** Below this no file is worth compacting, in bytes. */
const COMPACT_FROM = 256 * 1024;

/** The journals in use, the least recently used ones forgotten. */
export class Journals {
  readonly #logger: Logger;
  readonly #known = new Map<string, { readonly journal: Journal; compactAt: number }>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  of(path: string): Journal {
    return this.#entry(path).journal;
  }

  clear(): void {
    this.#known.clear();
  }

  /**
   * Rewrites a file most of which is values that are gone, in one step, under the record's lock. Looks again when the
   * file has doubled, so that the cost stays in proportion to what is written.
   */
  compactIfDue(path: string, fold: RecordFold, temporary: string): void {
    const entry = this.#entry(path);
    const { journal } = entry;
    if (journal.size < entry.compactAt) return;
    entry.compactAt = journal.size * 2;
    // What cannot be read could not be written again either.
    if (fold.damaged.length > 0) return;
    try {
      const text = compactedText(fold, journal.entries(fold.logDropped, fold.logTotal), path);
      if (text.length > journal.size / 2) return;
      journal.replace(text, temporary, () => syncNow(temporary));
      entry.compactAt = Math.max(COMPACT_FROM, text.length * 2);
    } catch (error) {
      // The commit before has been written: it must not be said to have failed.
      rmSync(temporary, { force: true, recursive: true });
      this.#logger.warn(`${path} could not be compacted`, error);
    }
  }

  #entry(path: string): { readonly journal: Journal; compactAt: number } {
    let entry = this.#known.get(path);
    if (entry) this.#known.delete(path);
    else {
      entry = { journal: new Journal(path, this.#logger), compactAt: COMPACT_FROM };
      const oldest = this.#known.size >= CACHED ? this.#known.keys().next().value : undefined;
      if (oldest !== undefined) this.#known.delete(oldest);
    }
    this.#known.set(path, entry);
    return entry;
  }
}
