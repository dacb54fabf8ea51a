import type { Clock } from '../clock.js';
import { AgentUpError } from '../errors.js';
import { type Logger, operationsLogger } from '../logger.js';
import { loadTelemetry } from '../telemetry.js';
import type { EncryptionOptions } from './encryption/encryption-key.js';
import type { Durability } from './file/durability.js';
import type { StateStorage } from './state-storage.js';
import type { ReplicaDurability } from './valkey/valkey-storage-options.js';

/** What a storage is opened with. Equal options mean the same store. */
export type StorageOptions = BackendOptions & {
  /** Encrypts what is kept. Default: it is stored in clear. */
  readonly encryption?: EncryptionOptions | undefined;
};

type BackendOptions =
  | { readonly backend: 'memory' }
  | {
      readonly backend: 'file';
      /** Absolute path. */
      readonly storageDir: string;
      readonly durability?: Durability | undefined;
    }
  | {
      readonly backend: 'valkey';
      readonly url: string;
      /** The server is a cluster; the url may name several of its nodes. Default false. */
      readonly cluster?: boolean | undefined;
      readonly keyPrefix: string;
      /** Bound on connecting and on one command, in milliseconds. Default 2000. */
      readonly timeoutMs?: number | undefined;
      /** What a commit waits for. Default: the primary has done it. */
      readonly durability?: ReplicaDurability | undefined;
    };

/** The names of the backends, as `state.backend` spells them. */
export const BACKENDS = ['memory', 'file', 'valkey'] as const;
export type BackendName = (typeof BACKENDS)[number];

/** The one place where a backend is chosen, and encrypted where that is asked for. Each is loaded only when it is opened. */
export async function openStorage(options: StorageOptions, services: StorageServices = {}): Promise<StateStorage> {
  const { encryption } = options;
  if (!encryption) return openObserved(options, services);
  const { EncryptedStorage } = await import('./encryption/encrypted-storage.js');
  const { TokenCipher } = await import('./encryption/token-cipher.js');
  // Before anything is opened that would have to be closed.
  const cipher = new TokenCipher(encryption);
  return new EncryptedStorage(await openObserved(options, services), cipher);
}

/** What a storage uses of its surroundings. */
export interface StorageServices {
  readonly logger?: Logger | undefined;
  readonly clock?: Clock | undefined;
}

/** The calls of the backend itself are seen, so what encryption costs is no part of them. */
async function openObserved(options: BackendOptions, services: StorageServices): Promise<StateStorage> {
  const logger = operationsLogger(services.logger);
  const isObservable = await loadTelemetry();
  const storage = await openBackend(options, services);
  if (!logger && !isObservable) return storage;
  const { ObservedStorage } = await import('./observed-storage.js');
  return new ObservedStorage(storage, logger);
}

async function openBackend(options: BackendOptions, services: StorageServices): Promise<StateStorage> {
  const common = {
    ...(services.clock && { clock: services.clock }),
    ...(services.logger && { logger: services.logger }),
  };
  switch (options.backend) {
    case 'memory': {
      const { MemoryStorage } = await import('./memory-storage.js');
      return new MemoryStorage(common);
    }
    case 'file': {
      const { FileStorage } = await import('./file/file-storage.js');
      return new FileStorage({
        ...common,
        storageDir: options.storageDir,
        ...(options.durability && { durability: options.durability }),
      });
    }
    case 'valkey': {
      const { ValkeyStorage } = await import('./valkey/valkey-storage.js');
      return new ValkeyStorage({
        ...common,
        url: options.url,
        keyPrefix: options.keyPrefix,
        ...(options.cluster !== undefined && { cluster: options.cluster }),
        ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
        ...(options.durability && { durability: options.durability }),
      });
    }
    default:
      throw new AgentUpError('INVALID_ARGUMENT', `unknown storage backend ${JSON.stringify(options)}`, {
        argument: 'backend',
        fix: `use one of ${BACKENDS.join(', ')}`,
      });
  }
}
