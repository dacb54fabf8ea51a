import type { Clock } from '../clock.js';
import type { Mutable } from '../mutable.js';
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

/** What a commit may have of its own. */
export type OwnOptions = Pick<CommitOptions, 'expiry' | 'commitId' | 'lease' | 'condition' | 'idempotency'>;

/**
 * The options of a commit with these settings.
 * @param fields how many the record is known to have: far from the limit, what others add meanwhile does not reach it,
 * and the storage need not count
 */
export function commitOptions(
  { ttl, historyMax, maxEntries }: CommitSettings,
  own: OwnOptions,
  fields = maxEntries,
): CommitOptions {
  // Spreads of what may be absent take several times as long, and so does reading what they have made.
  const options: Mutable<CommitOptions> = {
    expiry: own.expiry ?? { renew: ttl },
    commitId: own.commitId ?? uniqueId(),
  };
  if (own.lease) options.lease = own.lease;
  if (own.condition) options.condition = own.condition;
  if (own.idempotency) options.idempotency = own.idempotency;
  if (fields * 2 >= maxEntries) options.maxFields = maxEntries;
  if (historyMax !== undefined) options.logMax = historyMax;
  return options;
}
