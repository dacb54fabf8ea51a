import type { Clock } from '../clock.js';
import type { RecordKey } from '../storage/keys.js';
import type { Committed, Refused, StateRecord, StateStorage } from '../storage/state-storage.js';
import { type CommitSettings, commitOptions } from './commit-settings.js';
import type { TurnTarget } from './run-turn.js';
import type { Lease } from './turn-commits.js';

/** Could a record be over before the lease of the turn on it is renewed the next time? */
export function endsSoon(expiresAt: number | undefined, leaseMs: number, clock: Clock): boolean {
  if (expiresAt === undefined) return false;
  const left = expiresAt - clock.now();
  // A lease is renewed every third of its time. The storage's clock may differ a little; one that differs by more is
  // not this one, and says nothing.
  return left < leaseMs / 2 && left > -leaseMs;
}

/** Could a record be over before the turn that has begun on it? Of one whose handler will not run it does not matter. */
export function isToOutlive(
  record: StateRecord | undefined,
  { owner, settings }: Pick<TurnTarget, 'owner' | 'settings'>,
): record is StateRecord {
  if (!record || record.reply !== undefined) return false;
  // It will be refused, and whoever is refused keeps nothing alive.
  if (owner !== undefined && record.owner !== undefined && record.owner !== owner) return false;
  return endsSoon(record.expiresAt, settings.leaseMs, settings.clock);
}

/**
 * Begins the time to live of a record anew, as a write would, and its lease too. Of a record that ended during a turn
 * there would be left what that turn has changed, and nothing of what its handler saw.
 * @returns refused where it is over
 */
export function outlive(
  storage: StateStorage,
  key: RecordKey,
  settings: CommitSettings,
  { token, leaseMs }: Lease,
): Promise<Committed | Refused> {
  const own = { lease: { token, keepMs: leaseMs }, condition: { exists: true } };
  return storage.commit(key, [], commitOptions(settings, own, 0));
}
