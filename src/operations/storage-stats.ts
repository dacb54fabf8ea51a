import type { StateStorage } from '../storage/state-storage.js';
import { inParallel } from './in-parallel.js';
import { measure } from './whole-record.js';

/** What a number of records comes to. Moments are epoch milliseconds. */
export interface Tally {
  records: number;
  /** Names, values, kept replies and log entries, as JSON in UTF-8. */
  bytes: number;
  /** Log entries: of conversations, their messages. */
  entries: number;
  /** When the one was written that nobody has written to for longest, and the newest. */
  oldest: number | undefined;
  newest: number | undefined;
}

export interface StorageStats {
  readonly all: Tally;
  readonly bySpace: ReadonlyMap<string, Tally>;
  /** Of records that belong to somebody. */
  readonly byOwner: ReadonlyMap<string, Tally>;
}

export interface StatsOptions {
  /** Only these spaces. Default: all. */
  readonly spaces?: readonly string[] | undefined;
  /** Whether the records of a space count for their owner. Default: all do. */
  readonly owned?: ((space: string) => boolean) | undefined;
}

/** Counts and weighs what a storage holds. Reads all of it. */
export async function storageStats(storage: StateStorage, options: StatsOptions = {}): Promise<StorageStats> {
  const all = emptyTally();
  const bySpace = new Map<string, Tally>();
  const byOwner = new Map<string, Tally>();
  for (const space of options.spaces ?? (await storage.spaces())) {
    await inParallel(storage.list({ space }), 16, async ({ key }) => {
      const measured = await measure(storage, key);
      if (!measured) return;
      const tallies = [all, tallyOf(bySpace, space)];
      const { owner, updatedAt } = measured.head;
      if (owner !== undefined && (options.owned?.(space) ?? true)) tallies.push(tallyOf(byOwner, owner));
      for (const tally of tallies) {
        tally.records++;
        tally.bytes += measured.bytes;
        tally.entries += measured.entries;
        tally.oldest = Math.min(tally.oldest ?? updatedAt, updatedAt);
        tally.newest = Math.max(tally.newest ?? updatedAt, updatedAt);
      }
    });
  }
  return { all, bySpace, byOwner };
}

function emptyTally(): Tally {
  return { records: 0, bytes: 0, entries: 0, oldest: undefined, newest: undefined };
}

function tallyOf(tallies: Map<string, Tally>, name: string): Tally {
  let tally = tallies.get(name);
  if (!tally) tallies.set(name, (tally = emptyTally()));
  return tally;
}
