import { AgentUpError } from '../errors.js';
import type { StateStorage } from './state-storage.js';

/** Does this look like a storage? Not by its class: there are storages of others, and several copies of the package. */
export function isStorage(value: unknown): value is StateStorage {
  return typeof value === 'object' && value !== null && typeof (value as { begin?: unknown }).begin === 'function';
}

/**
 * Refuses what is no storage where it is given, and not at the first call that needs it.
 * @param of what it was given to
 * @throws INVALID_ARGUMENT
 */
export function checkStorage(value: unknown, of: string): asserts value is StateStorage {
  if (isStorage(value)) return;
  throw new AgentUpError('INVALID_ARGUMENT', `${of} needs a storage, not ${value === null ? 'null' : typeof value}`, {
    argument: 'storage',
    fix: 'give it one: new MemoryStorage(), new FileStorage({ storageDir }), new ValkeyStorage({ url, keyPrefix })',
  });
}
