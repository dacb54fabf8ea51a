import type { Change, CommitOptions, Committed } from '../state-storage.js';
import type { LineSettings, RecentCommit, RecordFold } from './record-fold.js';

/** What the line of a commit says beside its changes. */
export function settingsOf(
  fold: RecordFold,
  logCleared: boolean,
  added: number,
  { expiry, logMax, commitId }: CommitOptions,
  now: number,
): LineSettings {
  const total = (logCleared ? 0 : fold.logTotal) + added;
  const dropped = logCleared ? 0 : fold.logDropped;
  const from = logMax !== undefined && total - dropped > logMax ? total - logMax : undefined;
  const settings = { at: now, version: fold.version + 1, from, id: commitId };
  if (!expiry) return settings;
  const seconds = 'set' in expiry ? expiry.set : (fold.ownTtl ?? expiry.renew);
  const expiresAt = seconds === 'none' ? undefined : now + seconds * 1000;
  return {
    ...settings,
    ...(expiresAt !== fold.expiresAt && { expiresAt: expiresAt ?? null }),
    ...('set' in expiry && { ownTtl: expiry.set }),
  };
}

/** The answer to a commit that left the record like this. */
export function answerOf(fold: RecordFold | undefined, now: number, incremented: Map<string, number>): Committed {
  return {
    committed: true,
    version: fold?.version ?? 0,
    updatedAt: fold?.updatedAt ?? now,
    expiresAt: fold?.expiresAt,
    incremented,
    logTotal: fold?.logTotal ?? 0,
  };
}

/** The answer that a commit had when it was sent first. */
export function answerAgain(
  { at, version, expiresAt, logTotal, set }: RecentCommit,
  changes: readonly Change[],
): Committed {
  const incremented = new Map<string, number>();
  for (const change of changes) {
    if (change.op === 'increment') incremented.set(change.field, Number(set.get(change.field)));
  }
  return { committed: true, version, updatedAt: at, expiresAt, incremented, logTotal };
}
