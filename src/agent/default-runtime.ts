import { findConfig } from '../config/find-config.js';
import type { ConversationContext } from '../conversation/conversation-context.js';
import { AgentUpError } from '../errors.js';
import { type DefaultStateRuntime, setDefaultRuntime } from '../skill/state-runtime.js';
import type { StatefulOptions } from '../skill/stateful-options.js';
import { ConfigRuntime } from './config-runtime.js';

/**
 * Gives handlers that are called outside any agent their state: as the `agent_config.yaml` says that `AGENTUP_CONFIG`
 * names, or that lies in the working directory or above it. Without one only handlers that name their storage run.
 */
class DefaultRuntime implements DefaultStateRuntime {
  #runtimes = new Map<string, Promise<ConfigRuntime>>();
  /** What a handler was given last, and where: looking for the file at every turn would cost more than the turn. */
  #given = new WeakMap<object, { readonly directory: string; readonly context: ConversationContext }>();

  // biome-ignore lint/suspicious/noExplicitAny: options of handlers with tasks of any type
  contextFor(options: StatefulOptions<any>): ConversationContext | Promise<ConversationContext> {
    const given = this.#given.get(options);
    return given?.directory === process.cwd() ? given.context : this.#find(options);
  }

  // biome-ignore lint/suspicious/noExplicitAny: options of handlers with tasks of any type
  async #find(options: StatefulOptions<any>): Promise<ConversationContext> {
    const directory = process.cwd();
    const file = process.env['AGENTUP_CONFIG'] || findConfig(directory);
    if (file === undefined && options.storage === undefined) {
      throw new AgentUpError('CONFIG_NOT_FOUND', `no agent_config.yaml in ${process.cwd()} or above it`, {
        path: process.cwd(),
        fix: 'run `npx agentup init`, or say where state is kept: @stateful({ storage: "file" })',
      });
    }
    const name = file ?? '';
    let runtime = this.#runtimes.get(name);
    if (!runtime) {
      runtime = load(file);
      this.#runtimes.set(name, runtime);
      runtime.catch(() => this.#runtimes.delete(name));
    }
    const context = await (await runtime).contextFor(options);
    this.#given.set(options, { directory, context });
    return context;
  }

  async close(): Promise<void> {
    const runtimes = [...this.#runtimes.values()];
    this.#runtimes.clear();
    this.#given = new WeakMap();
    await Promise.all(runtimes.map(async (runtime) => (await runtime).close()));
  }
}

async function load(file: string | undefined): Promise<ConfigRuntime> {
  if (file === undefined) return new ConfigRuntime({ state: undefined, directory: process.cwd() });
  const { loadConfig } = await import('../config/index.js');
  const { config, directory } = await loadConfig({ file });
  return new ConfigRuntime({ state: config.state, caches: config, directory });
}

// That of another installed copy of the package, where that was loaded before: handlers get their state from it.
const runtime = setDefaultRuntime(new DefaultRuntime());

/**
 * Closes the storages opened for handlers that were called outside any agent: at the end of a script or a test. The
 * next such call opens them again.
 */
export async function closeStorages(): Promise<void> {
  await runtime.close();
}
