import type { StateStorage } from '../storage/state-storage.js';
import type { ConversationSync } from './conversation-sync.js';

/** Kept where every installed copy of the package finds it, like the turns. */
const SYNCS = Symbol.for('agentup.syncs.1');
const globals = globalThis as { [SYNCS]?: WeakMap<StateStorage, ConversationSync> };
const syncs: WeakMap<StateStorage, ConversationSync> = (globals[SYNCS] ??= new WeakMap());

/** The sync over this storage, for decorators on what runs there. The newest counts. */
export function syncOver(storage: StateStorage): ConversationSync | undefined {
  return syncs.get(storage);
}

export function registerSync(storage: StateStorage, sync: ConversationSync): void {
  syncs.set(storage, sync);
}

export function forgetSync(storage: StateStorage, sync: ConversationSync): void {
  if (syncs.get(storage) === sync) syncs.delete(storage);
}
