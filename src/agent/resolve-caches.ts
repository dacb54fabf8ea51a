import type { CachesConfig } from '../config/index.js';
import { AgentUpError } from '../errors.js';
import type { StorageOptions } from '../storage/open-storage.js';

/** What caches begin their keys with where nothing says otherwise; the same as `createCacheFactory`. */
const KEY_PREFIX = 'agentup:cache:';

/**
 * The storage of `context.caches` that a configuration asks for; `undefined`: that of the conversations. Only the
 * service that `caches.service` names is taken, never one because of its name or type: it may be there for a skill.
 * @throws INVALID_ARGUMENT where the service is missing or has no url, which a validated configuration never has
 */
export function resolveCaches({ caches, services }: CachesConfig): StorageOptions | undefined {
  const name = caches.service;
  if (name === undefined) return undefined;
  const config = services[name]?.config;
  if (config?.url === undefined) {
    throw new AgentUpError('INVALID_ARGUMENT', `caches need services.${name}.config.url`, {
      argument: 'caches.service',
    });
  }
  const { url, db, key_prefix = KEY_PREFIX, cluster } = config;
  // A cluster has one database, and its url may name several nodes.
  const whole = db === undefined || cluster ? url : `${url.replace(/(?<=:\/\/[^/]*)\/\d*$/, '')}/${db}`;
  return {
    backend: 'valkey',
    url: whole,
    cluster: cluster || undefined,
    keyPrefix: key_prefix,
    timeoutMs: caches.timeout,
  };
}
