import type { Clock } from '../clock.js';
import type { CommitOptions } from '../storage/state-storage.js';
import { uniqueId } from '../unique-id.js';

/** What every commit of a conversation carries. */
export interface CommitSettings {
  /** Seconds, sliding on write. */
  readonly ttl: number | 'none';
  /** Newest messages kept; all when absent. */
  readonly historyMax: number | undefined;
  readonly maxEntries: number;
  /** Newest messages whose replies are kept. */
  readonly dedupe: number;
  /** What times to live are measured by; that of the storage, or about the same. */
  readonly clock: Clock;
}

/**
 * The options of a commit with these settings.
 * @param fields how many the record is known to have: far from the limit, what others add meanwhile does not reach it,
 * and the storage need not count
 */
export function commitOptions(
  { ttl, historyMax, maxEntries }: CommitSettings,
  own: CommitOptions,
  fields = maxEntries,
): CommitOptions {
  return {
    expiry: { renew: ttl },
    commitId: own.commitId ?? uniqueId(),
    ...(fields * 2 >= maxEntries && { maxFields: maxEntries }),
    ...(historyMax !== undefined && { logMax: historyMax }),
    ...own,
  };
}
