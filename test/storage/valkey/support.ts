import { randomBytes } from 'node:crypto';
import { AgentUpError } from '../../../src/errors.js';
import type { RecordKey } from '../../../src/storage/keys.js';
import { ValkeyStorage } from '../../../src/storage/valkey/valkey-storage.js';
import type { ValkeyStorageOptions } from '../../../src/storage/valkey/valkey-storage-options.js';

export { startValkey, type ValkeyServer, valkeyUrl } from '../../support/index.js';

/** A key prefix that no other test uses. */
export function freshPrefix(): string {
  return `test:${randomBytes(6).toString('hex')}:`;
}

/** Storages of one test file, closed together. */
export class Storages {
  readonly #open: ValkeyStorage[] = [];

  make(options: Partial<ValkeyStorageOptions>): ValkeyStorage {
    const storage = new ValkeyStorage({ keyPrefix: freshPrefix(), ...options });
    this.#open.push(storage);
    return storage;
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.map((storage) => storage.close()));
  }
}

export function keyOf(id: string, ...scope: string[]): RecordKey {
  return { space: 'contexts', scope, id };
}

export async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of source) all.push(item);
  return all;
}

/** The error a promise fails with, and how long that took. */
export async function failure(promise: Promise<unknown>): Promise<{ error: AgentUpError; code: string; ms: number }> {
  const start = performance.now();
  try {
    await promise;
  } catch (error) {
    if (error instanceof AgentUpError) return { error, code: error.code, ms: performance.now() - start };
    throw error;
  }
  throw new Error('it did not fail');
}

/** Everything an error would print, causes included. */
export function printed(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = Object.getOwnPropertyNames(error).map((name) => JSON.stringify(Reflect.get(error, name)));
  return [error.stack, ...own, error.cause === undefined ? '' : printed(error.cause)].join('\n');
}
