import type { SyncConfig } from '../config/index.js';
import { AgentUpError } from '../errors.js';
import type { ConversationSyncOptions } from './sync-types.js';

export type Environment = Readonly<Record<string, string | undefined>>;

const OFF = /^(?:false|0|no|off)$/i;

/**
 * What a `sync` section and the environment come to together; the section wins, except that either can switch sync off.
 * The environment's names: `CONVERSATION_API_BASE_URL` (or CartaAI's `CARTAAI_API_BASE_URL`), `CONVERSATION_API_KEY`
 * (`CARTAAI_API_KEY`), `CONVERSATION_API_TIMEOUT` in seconds, `ENABLE_CONVERSATION_SYNC`.
 * @param hasClient there is one already: URL and key are not asked for
 * @throws INVALID_ARGUMENT where sync is on and its URL or key is named nowhere
 */
export function settingsOf(
  config: SyncConfig | undefined,
  env: Environment,
  hasClient = false,
): Pick<ConversationSyncOptions, 'enabled' | 'client' | 'subDomain' | 'source' | 'outbox'> {
  const isOff = config?.enabled === false || OFF.test(env['ENABLE_CONVERSATION_SYNC']?.trim() ?? '');
  if (isOff) return { enabled: false };
  const subDomain = config?.sub_domain;
  const outbox = config && { max: config.outbox.max, atLimit: config.outbox.at_limit };
  const common = { enabled: true, subDomain, source: config?.source, outbox };
  if (hasClient) return common;
  const baseUrl = config?.url ?? named(env, 'CONVERSATION_API_BASE_URL', 'CARTAAI_API_BASE_URL');
  const apiKey = config?.api_key ?? named(env, 'CONVERSATION_API_KEY', 'CARTAAI_API_KEY');
  if (baseUrl === undefined) throw missing('url', 'CONVERSATION_API_BASE_URL');
  if (apiKey === undefined) throw missing('api_key', 'CONVERSATION_API_KEY');
  return { ...common, client: { baseUrl, apiKey, subDomain, timeoutMs: config?.timeout ?? timeoutIn(env) } };
}

function named(env: Environment, ...names: string[]): string | undefined {
  return names.map((name) => env[name]).find((value) => value !== undefined && value !== '');
}

function timeoutIn(env: Environment): number | undefined {
  const text = named(env, 'CONVERSATION_API_TIMEOUT');
  if (text === undefined) return undefined;
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > 0) return Math.ceil(seconds * 1000);
  throw new AgentUpError('INVALID_ARGUMENT', `CONVERSATION_API_TIMEOUT is ${JSON.stringify(text)}, not seconds`, {
    argument: 'CONVERSATION_API_TIMEOUT',
  });
}

function missing(key: string, name: string): AgentUpError {
  return new AgentUpError('INVALID_ARGUMENT', `sync is on, and its ${key} is missing`, {
    argument: key,
    fix: `set sync.${key} in agent_config.yaml or ${name} in the environment, or switch sync off: sync.enabled: false`,
  });
}
