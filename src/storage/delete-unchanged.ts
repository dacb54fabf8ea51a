import type { RecordKey } from './keys.js';
import type { StateStorage } from './state-storage.js';

/** Removes a record where it still has this version. @returns whether it had */
export async function deleteUnchanged(storage: StateStorage, key: RecordKey, version: number): Promise<boolean> {
  // A record that is carried past its end is gone at once, and a commit can be compared as `delete` cannot.
  const carried = { createdAt: 0, updatedAt: 0, expiresAt: 1, ownTtl: undefined };
  return (await storage.commit(key, [{ op: 'touch' }], { carried, condition: { version } })).committed;
}
