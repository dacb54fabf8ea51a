import { resolve } from 'node:path';
import type { StateConfig } from '../config/index.js';
import type { ConversationContextOptions } from '../conversation/conversation-context.js';
import { AgentUpError } from '../errors.js';
import type { StatefulOptions } from '../skill/stateful-options.js';
import type { StorageOptions } from '../storage/open-storage.js';
import type { StateStorage } from '../storage/state-storage.js';

export interface ResolvedState {
  readonly storage: StorageOptions | StateStorage;
  readonly context: ConversationContextOptions;
}

/**
 * What a handler's options and the `state` section come to together: the options win, each for itself. A handler that
 * names another backend than the configuration takes nothing of that backend's settings from it.
 * @throws INVALID_ARGUMENT when a Valkey handler has no url or no prefix
 */
export function resolveState(
  state: StateConfig | undefined,
  // biome-ignore lint/suspicious/noExplicitAny: options of handlers with tasks of any type
  options: StatefulOptions<any>,
  directory: string,
): ResolvedState {
  return {
    storage:
      typeof options.storage === 'object'
        ? options.storage
        : withEncryption(storageOptions(state, options, directory), state),
    context: {
      ttl: options.ttl ?? state?.ttl,
      history: { load: options.history ?? state?.history.load, max: state?.history.max },
      concurrency: options.concurrency ?? state?.concurrency,
      lease: state?.lease,
      wait: state?.wait,
      maxWaiting: state?.queue,
      dedupe: state?.dedupe,
      onUnavailable: state?.on_unavailable,
    },
  };
}

function withEncryption(storage: StorageOptions, state: StateConfig | undefined): StorageOptions {
  return { ...storage, encryption: encryptionOf(state, storage.backend) };
}

/** Whatever rests somewhere is encrypted, whichever backend a handler has chosen, and the caches wherever they are. */
export function encryptionOf(
  state: StateConfig | undefined,
  backend: StorageOptions['backend'],
): StorageOptions['encryption'] {
  if (!state?.encryption || backend === 'memory') return undefined;
  const { key, previous, allow_clear: allowClear } = state.encryption;
  return { key, previous, allowClear };
}

function storageOptions(
  state: StateConfig | undefined,
  // biome-ignore lint/suspicious/noExplicitAny: options of handlers with tasks of any type
  options: StatefulOptions<any>,
  directory: string,
): StorageOptions {
  const backend = options.storage ?? state?.backend ?? 'file';
  const same = state?.backend === backend ? state : undefined;
  switch (backend) {
    case 'memory':
      return { backend };
    case 'file':
      return {
        backend,
        storageDir: resolve(directory, options.storageDir ?? same?.storage_dir ?? './conversation_states'),
        durability: typeof same?.durability === 'string' ? same.durability : undefined,
      };
    case 'valkey': {
      const url = options.url ?? same?.url;
      const keyPrefix = options.keyPrefix ?? same?.key_prefix;
      if (url === undefined || keyPrefix === undefined) {
        const missing = url === undefined ? 'url' : 'keyPrefix';
        throw new AgentUpError('INVALID_ARGUMENT', `a handler on Valkey needs a ${missing}`, {
          argument: missing,
          fix: `give it to @stateful(), or set state.${url === undefined ? 'url' : 'key_prefix'} in agent_config.yaml`,
        });
      }
      const durability = typeof same?.durability === 'object' ? same.durability : undefined;
      return { backend, url, cluster: same?.cluster || undefined, keyPrefix, timeoutMs: same?.timeout, durability };
    }
    default:
      throw new AgentUpError('INVALID_ARGUMENT', `unknown storage ${JSON.stringify(backend)}`, {
        argument: 'storage',
        fix: "use 'memory', 'file', 'valkey', or an object that implements StateStorage",
      });
  }
}
