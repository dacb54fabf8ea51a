import { AgentUpError } from '../errors.js';
import type { EncryptionOptions } from '../storage/encryption/encryption-key.js';
import { BACKENDS, type BackendName, openStorage, type StorageOptions } from '../storage/open-storage.js';
import type { StateStorage } from '../storage/state-storage.js';
import { type CacheSettings, type Caches, createCaches } from './create-caches.js';
import type { StateCache } from './state-cache.js';
import type { TableCache } from './table-cache.js';
import type { UserCache } from './user-cache.js';

/** What each backend needs to know; `memory` nothing, `file` its directory, `valkey` url and prefix. */
export interface CacheFactoryOptions extends CacheSettings {
  /** Files: the directory. Default `./cache`. */
  readonly storageDir?: string | undefined;
  /** Valkey: `valkey://host:port`. */
  readonly url?: string | undefined;
  /** Valkey: what every key begins with. Default `agentup:cache:`. */
  readonly keyPrefix?: string | undefined;
  /** Encrypts what the caches hold, with files and Valkey. Default: it is stored in clear. */
  readonly encryption?: EncryptionOptions | undefined;
}

/** Makes caches for tenants and users over one storage, which it opened and closes. */
export class CacheFactory {
  readonly storage: StateStorage;
  readonly #settings: CacheSettings;

  /** @internal made by `createCacheFactory` */
  constructor(storage: StateStorage, settings: CacheSettings) {
    this.storage = storage;
    this.#settings = settings;
  }

  /** All caches of a tenant and, where one is named, a user. */
  for(tenantId: string, userId?: string): Caches {
    return createCaches({ ...this.#settings, storage: this.storage, tenantId, userId });
  }

  createStateCache(scope: { readonly tenantId: string; readonly userId: string }): StateCache {
    return this.for(scope.tenantId, scope.userId).stateCache;
  }

  createUserCache(scope: { readonly tenantId: string; readonly userId: string }): UserCache {
    return this.for(scope.tenantId, scope.userId).userCache;
  }

  createTableCache(scope: { readonly tenantId: string }): TableCache {
    return this.for(scope.tenantId).tableCache;
  }

  /** Ends timers, connections and locks. Idempotent. */
  async close(): Promise<void> {
    await this.storage.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A factory on the named backend; case and blanks around the name do not matter. @throws INVALID_ARGUMENT */
export async function createCacheFactory(
  backend: BackendName | (string & {}),
  options: CacheFactoryOptions = {},
): Promise<CacheFactory> {
  const { storageDir = './cache', url, keyPrefix = 'agentup:cache:', encryption, ...settings } = options;
  const name = String(backend).trim().toLowerCase();
  const storage = await openStorage({ ...optionsOf(name, storageDir, url, keyPrefix), encryption }, settings);
  return new CacheFactory(storage, settings);
}

function optionsOf(backend: string, storageDir: string, url: string | undefined, keyPrefix: string): StorageOptions {
  switch (backend) {
    case 'memory':
      return { backend };
    case 'file':
      return { backend, storageDir };
    case 'valkey':
      if (url === undefined) throw new AgentUpError('INVALID_ARGUMENT', 'valkey needs a url', { argument: 'url' });
      return { backend, url, keyPrefix };
    default:
      throw new AgentUpError('INVALID_ARGUMENT', `unknown cache backend ${JSON.stringify(backend)}`, {
        argument: 'backend',
        fix: `use one of ${BACKENDS.join(', ')}`,
      });
  }
}
