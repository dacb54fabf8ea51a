import { resolveState } from '../../agent/resolve-state.js';
import { AgentUpError } from '../../errors.js';
import { stderrLogger } from '../../logger.js';
import { openStorage, type StorageOptions } from '../../storage/open-storage.js';
import type { StateStorage } from '../../storage/state-storage.js';
import { openConfig } from '../open-config.js';
import type { PlaceFlags } from '../place.js';
import type { Terminal } from '../terminal.js';

/** Opens the storage that the configuration names, for as long as `work` takes. @throws INVALID_ARGUMENT for memory */
export async function withState<T>(
  flags: PlaceFlags,
  terminal: Terminal,
  work: (storage: StateStorage) => Promise<T>,
): Promise<T> {
  const { config, directory } = await openConfig(flags, terminal);
  return withStorage(resolveState(config.state, {}, directory).storage as StorageOptions, terminal, work);
}

/** The same for any storage. */
export async function withStorage<T>(
  options: StorageOptions,
  terminal: Terminal,
  work: (storage: StateStorage) => Promise<T>,
): Promise<T> {
  if (options.backend === 'memory') throw memoryOnly();
  const storage = await openStorage(options, { logger: stderrLogger(terminal.env['AGENTUP_LOG']) });
  try {
    return await work(storage);
  } finally {
    await storage.close();
  }
}

function memoryOnly(): AgentUpError {
  return new AgentUpError('INVALID_ARGUMENT', 'what is kept in memory lives and ends with its own process', {
    argument: 'backend',
    backend: 'memory',
    fix: 'set state.backend to file or valkey; inside of a program, `agentup/operations` takes any storage',
  });
}
