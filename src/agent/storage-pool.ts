import { createHash } from 'node:crypto';
import { openStorage, type StorageOptions, type StorageServices } from '../storage/open-storage.js';
import type { StateStorage } from '../storage/state-storage.js';

interface Shared {
  readonly storage: Promise<StateStorage>;
  holders: number;
}

/** Kept where every installed copy of the package finds it, like the turns: one store, one connection. */
const OPEN = Symbol.for('agentup.storages.1');
const globals = globalThis as { [OPEN]?: Map<string, Shared> };
const open: Map<string, Shared> = (globals[OPEN] ??= new Map());

/**
 * The storages one holder uses. In a process equal options share one storage and different ones never do; it is
 * closed when the last holder lets go.
 */
export class StoragePool {
  readonly #services: StorageServices;
  readonly #held = new Set<string>();

  constructor(services: StorageServices = {}) {
    this.#services = services;
  }

  async open(options: StorageOptions): Promise<StateStorage> {
    const name = identity(options);
    let shared = open.get(name);
    if (!shared) {
      shared = { storage: openStorage(options, this.#services), holders: 0 };
      open.set(name, shared);
      shared.storage.catch(() => open.delete(name));
    }
    if (!this.#held.has(name)) {
      this.#held.add(name);
      shared.holders++;
    }
    return shared.storage;
  }

  /** Lets go of everything. Waits until what nobody else holds is closed. */
  async close(): Promise<void> {
    const closing: Promise<void>[] = [];
    for (const name of this.#held) {
      const shared = open.get(name);
      if (!shared || --shared.holders > 0) continue;
      open.delete(name);
      closing.push(shared.storage.then((storage) => storage.close()));
    }
    this.#held.clear();
    await Promise.all(closing);
  }
}

/** Equal for options that mean the same store, whatever the order they were written in. Holds no keys. */
function identity(options: StorageOptions): string {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const text = JSON.stringify(given.sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHash('sha256').update(text).digest('base64url');
}
