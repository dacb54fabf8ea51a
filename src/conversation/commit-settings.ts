import { randomBytes } from 'node:crypto';
import type { CommitOptions } from '../storage/state-storage.js';

/** What every commit of a conversation carries. */
export interface CommitSettings {
  /** Seconds, sliding on write. */
  readonly ttl: number | 'none';
  /** Newest messages kept; all when absent. */
  readonly historyMax: number | undefined;
  readonly maxEntries: number;
  /** Newest messages whose replies are kept. */
  readonly dedupe: number;
}

const process = randomBytes(9).toString('base64url');
let count = 0;

/** An id that nobody else makes: for leases, and for commits that may have to be sent twice. */
export function uniqueId(): string {
  return `${process}${(count++).toString(36)}`;
}

/** The options of a commit with these settings. */
export function commitOptions(settings: CommitSettings, own: CommitOptions): CommitOptions {
  return {
    expiry: { renew: settings.ttl },
    maxFields: settings.maxEntries,
    ...(settings.historyMax !== undefined && { logMax: settings.historyMax }),
    commitId: uniqueId(),
    ...own,
  };
}
