import { randomUUID } from 'node:crypto';
import { resolveState } from '../agent/resolve-state.js';
import type { StateConfig } from '../config/index.js';
import { ConversationContext } from '../conversation/conversation-context.js';
import { AgentUpError } from '../errors.js';
import { stderrLogger } from '../logger.js';
import { openStorage, type StorageOptions } from '../storage/open-storage.js';
import type { StateStorage } from '../storage/state-storage.js';

/** How long each step took, in milliseconds. */
export interface ProbeTimes {
  readonly backend: string;
  readonly open: number;
  readonly write: number;
  readonly read: number;
  readonly delete: number;
}

/**
 * Opens the configured storage, and writes, reads and deletes a conversation of its own there.
 * @throws what the storage fails with; STORAGE_FAILED when it answers with something else than was written
 */
export async function probeStorage(state: StateConfig, directory: string): Promise<ProbeTimes> {
  return probeOptions(resolveState(state, {}, directory).storage);
}

/** The same for any storage: that of the caches. */
export async function probeOptions(options: StorageOptions | StateStorage): Promise<ProbeTimes> {
  const id = `agentup-probe-${randomUUID()}`;
  let storage: StateStorage | undefined;
  try {
    const [open, opened] = await timed(async () => {
      const made = 'begin' in options ? options : await openStorage(options, { logger: stderrLogger('silent') });
      storage = made;
      await made.ping();
      return made;
    });
    const context = new ConversationContext(opened, { ttl: 60 });
    const [write] = await timed(() => context.setVariable(id, 'probe', id));
    const [read, found] = await timed(() => context.getVariable(id, 'probe'));
    const [remove, removed] = await timed(() => context.clearContext(id));
    if (found !== id || !removed) {
      throw new AgentUpError('STORAGE_FAILED', 'the storage did not give back what was written', {
        backend: opened.backend,
      });
    }
    return { backend: opened.backend, open, write, read, delete: remove };
  } finally {
    await storage?.close();
  }
}

/** The times as a sentence: `valkey: open 3.1 ms, write 0.4 ms, …`. */
export function timesText(times: ProbeTimes): string {
  const step = (name: 'open' | 'write' | 'read' | 'delete') => `${name} ${times[name].toFixed(1)} ms`;
  return `${times.backend}: ${step('open')}, ${step('write')}, ${step('read')}, ${step('delete')}`;
}

async function timed<T>(work: () => Promise<T>): Promise<[number, T]> {
  const start = performance.now();
  const result = await work();
  return [performance.now() - start, result];
}
