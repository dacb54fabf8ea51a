import { openStorage, type StorageOptions } from '../../storage/open-storage.js';
import { StateTaskStore, type TaskStoreOptions } from './task-store.js';

type Of<Backend extends StorageOptions['backend']> = Omit<Extract<StorageOptions, { backend: Backend }>, 'backend'>;

/** Tasks in this process. */
export class MemoryTaskStore extends StateTaskStore {
  constructor(options: TaskStoreOptions = {}) {
    super(openStorage({ backend: 'memory' }, options), options);
  }
}

/** Tasks in files. */
export class FileTaskStore extends StateTaskStore {
  constructor({ storageDir, durability, encryption, ...options }: Of<'file'> & TaskStoreOptions) {
    super(openStorage({ backend: 'file', storageDir, durability, encryption }, options), options);
  }
}

/** Tasks on a Valkey server. */
export class ValkeyTaskStore extends StateTaskStore {
  constructor({
    url,
    keyPrefix,
    cluster,
    timeoutMs,
    durability,
    encryption,
    ...options
  }: Of<'valkey'> & TaskStoreOptions) {
    const storage = { backend: 'valkey', url, keyPrefix, cluster, timeoutMs, durability, encryption } as const;
    super(openStorage(storage, options), options);
  }
}
