import { checkObject } from '../check-object.js';
import type { Clock } from '../clock.js';
import { EmbeddedStorage } from './embedded-storage.js';
import { MemoryStore } from './memory-store.js';

export interface MemoryStorageOptions {
  /** Default time to live in seconds; never when absent. */
  ttl?: number;
  clock?: Clock;
}

/** Keeps records in this process; they end with it. For development, tests, and data that may be lost. */
export class MemoryStorage extends EmbeddedStorage {
  /** @throws INVALID_ARGUMENT, TTL_INVALID */
  constructor(options: MemoryStorageOptions = {}) {
    checkObject(options, 'MemoryStorage', 'new MemoryStorage()');
    super(new MemoryStore(), options);
  }
}
