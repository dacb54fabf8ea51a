import { resolveState } from '../../agent/resolve-state.js';
import { AgentUpError } from '../../errors.js';
import { stderrLogger } from '../../logger.js';
import { openStorage, type StorageOptions } from '../../storage/open-storage.js';
import type { StateStorage } from '../../storage/state-storage.js';
import { openConfig } from '../open-config.js';
import type { PlaceFlags } from '../place.js';
import type { Terminal } from '../terminal.js';
import { noting } from './unreadable.js';

/** What a command does with a storage. `unreadable`: files that it has been found to leave out, whole or in part. */
type Work<T> = (storage: StateStorage, unreadable: ReadonlySet<string>) => Promise<T>;

/** Opens the storage that the configuration names, for as long as `work` takes. @throws INVALID_ARGUMENT for memory */
export async function withState<T>(flags: PlaceFlags, terminal: Terminal, work: Work<T>): Promise<T> {
  const { config, directory } = await openConfig(flags, terminal);
  return withStorage(resolveState(config.state, {}, directory).storage as StorageOptions, terminal, work);
}

/** The same for any storage. */
export async function withStorage<T>(options: StorageOptions, terminal: Terminal, work: Work<T>): Promise<T> {
  if (options.backend === 'memory') throw memoryOnly();
  const unreadable = new Set<string>();
  const logger = noting(unreadable, stderrLogger(terminal.env['AGENTUP_LOG']));
  const storage = await openStorage(options, { logger });
  try {
    return await work(storage, unreadable);
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
