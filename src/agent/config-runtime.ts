import type { Clock } from '../clock.js';
import type { CachesConfig, StateConfig } from '../config/index.js';
import { ConversationContext } from '../conversation/conversation-context.js';
import type { Logger } from '../logger.js';
import type { Hooks } from '../skill/hooks.js';
import type { StateRuntime } from '../skill/state-runtime.js';
import type { StatefulOptions } from '../skill/stateful-options.js';
import type { LoadedSkill } from './load-skill.js';
import { resolveCaches } from './resolve-caches.js';
import { resolveState } from './resolve-state.js';
import { StoragePool } from './storage-pool.js';

export interface ConfigRuntimeParts {
  readonly state: StateConfig | undefined;
  /** Default: caches lie beside the conversations. */
  readonly caches?: CachesConfig | undefined;
  /** What relative paths in the configuration start from. */
  readonly directory: string;
  readonly logger?: Logger | undefined;
  readonly clock?: Clock | undefined;
  readonly skills?: readonly LoadedSkill[] | undefined;
}

/** Gives handlers their state as one configuration says. */
export class ConfigRuntime implements StateRuntime {
  readonly skills: ReadonlyMap<string, Hooks>;
  readonly #parts: ConfigRuntimeParts;
  readonly #pool: StoragePool;
  readonly #contexts = new WeakMap<object, ConversationContext | Promise<ConversationContext>>();

  constructor(parts: ConfigRuntimeParts) {
    this.#parts = parts;
    this.skills = new Map((parts.skills ?? []).flatMap(({ hooks }) => (hooks ? [[hooks.owner, hooks]] : [])));
    this.#pool = new StoragePool(parts);
  }

  // biome-ignore lint/suspicious/noExplicitAny: options of handlers with tasks of any type
  contextFor(options: StatefulOptions<any>): ConversationContext | Promise<ConversationContext> {
    const known = this.#contexts.get(options);
    if (known) return known;
    const opening = this.#open(options);
    this.#contexts.set(options, opening);
    opening.then(
      (context) => this.#contexts.set(options, context),
      () => this.#contexts.delete(options),
    );
    return opening;
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  // biome-ignore lint/suspicious/noExplicitAny: options of handlers with tasks of any type
  async #open(options: StatefulOptions<any>): Promise<ConversationContext> {
    const { state, caches, directory, logger, clock } = this.#parts;
    const { storage, context } = resolveState(state, options, directory);
    const opened = 'begin' in storage ? storage : await this.#pool.open(storage);
    const service = caches && resolveCaches(caches);
    const settings = {
      storage: service && (await this.#pool.open(service)),
      warnBytes: caches?.caches.warn_bytes,
    };
    return new ConversationContext(opened, { ...context, caches: settings, logger, clock });
  }
}
