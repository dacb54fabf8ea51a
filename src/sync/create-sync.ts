import type { Agent } from '../agent/agent.js';
import { checkAgent } from '../agent/check-agent.js';
import { checkObject } from '../check-object.js';
import { ConversationSync } from './conversation-sync.js';
import { type Environment, settingsOf } from './sync-settings.js';
import type { ConversationSyncOptions } from './sync-types.js';

export interface CreateSyncOptions extends Partial<Omit<ConversationSyncOptions, 'storage'>> {
  /** Default: `process.env`. */
  readonly env?: Environment | undefined;
}

/**
 * The sync of an agent: its outbox lies in the agent's storage, its settings are the `sync` section and the
 * environment. Or of any storage, with settings from the options and the environment. Options given here win. Close
 * it before what it lies on.
 * @throws INVALID_ARGUMENT where sync is on and its URL or key is named nowhere
 */
export function createSync(
  source: Agent | Pick<ConversationSyncOptions, 'storage'>,
  options: CreateSyncOptions = {},
): ConversationSync {
  checkObject(source, 'createSync()', 'createSync(agent) or createSync({ storage })', 'source');
  if (source instanceof Promise) checkAgent(source, 'createSync()');
  const { env = process.env, ...given } = options;
  const own = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const isAgent = 'context' in source;
  const known = isAgent
    ? { storage: source.context.storage, clock: source.context.clock, logger: source.context.logger }
    : source;
  const section = isAgent ? source.config.sync : undefined;
  const hasClient = own['enabled'] === false || own['client'] !== undefined;
  const settings = settingsOf(section, env, hasClient);
  // The switch in the environment or the file is for whoever operates the app: no option overrides it.
  const isOff = settings.enabled === false;
  return new ConversationSync({ ...settings, ...known, ...own, ...(isOff && { enabled: false }) });
}
