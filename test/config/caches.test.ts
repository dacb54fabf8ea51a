import { describe, expect, it } from 'vitest';
import { resolveCaches } from '../../src/agent/resolve-caches.js';
import { parseConfig, validateConfigText } from '../../src/config/index.js';

const check = (config: string, env = {}) =>
  validateConfigText(
    `services:\n  valkey: { type: valkey, config: ${config} }\ncaches: { service: valkey }\nstate: { backend: memory }\n`,
    { env },
  );

describe('caches.service', () => {
  it.each([
    ['{ url: "valkey://h" }', {}, 'valkey://h'],
    ['{ url: "${U}" }', { U: 'valkey://:p@h:1/4' }, 'valkey://:p@h:1/4'],
    ['{ url: "valkey://h:1/", db: 2 }', {}, 'valkey://h:1/2'],
    ['{ url: "valkey://h:1/2", db: 2 }', {}, 'valkey://h:1/2'],
    ['{ url: "valkey://h", db: "${DB:5}", max_connections: 20 }', {}, 'valkey://h/5'],
    ['{ url: "${U}", db: 0 }', { U: 'valkeys://u:p%2F1@h' }, 'valkeys://u:p%2F1@h/0'],
    ['{ url: "valkey://a:1,b:2", cluster: true, db: 0 }', {}, 'valkey://a:1,b:2'],
  ])('leads to the server that it names: %s', (config, env, url) => {
    const { findings, config: read } = check(config, env);
    expect(findings).toEqual([]);
    const cluster = config.includes('cluster') || undefined;
    const options = { backend: 'valkey', url, cluster, keyPrefix: 'agentup:cache:', timeoutMs: 2000 };
    expect(read && resolveCaches(read)).toEqual(options);
  });

  it.each([
    ['{}', 'URL_MISSING', 'services.valkey.config.url', 2],
    ['{ url: "valky://h" }', 'URL_INVALID', 'services.valkey.config.url', 2],
    ['{ url: "valkey://:s3cret@h:x" }', 'URL_INVALID', 'services.valkey.config.url', 2],
    ['{ url: "valkey://h/1", db: 2 }', 'INVALID_VALUE', 'services.valkey.config.db', 2],
    ['{ url: "valkey://h", db: 1, cluster: true }', 'INVALID_VALUE', 'services.valkey.config.db', 2],
    ['{ url: "valkey://h", key_prefix: "a{}b" }', 'INVALID_VALUE', 'services.valkey.config.key_prefix', 2],
    ['{ url: "valkey://h", cluster: perhaps }', 'WRONG_TYPE', 'services.valkey.config.cluster', 2],
    ['{ url: "${UNSET}" }', 'ENV_UNSET', 'services.valkey.config.url', 2],
  ])('is refused with its place and a fix, and without the password: %s', (config, code, path, line) => {
    const { findings } = check(config);
    expect(findings.map((finding) => [finding.code, finding.path, finding.line])).toEqual([[code, path, line]]);
    expect(findings[0]?.fix).toBeTruthy();
    expect(JSON.stringify(findings)).not.toContain('s3cret');
  });

  it('names a service that is there, and one that caches can be kept on', () => {
    const codes = (text: string) => {
      const { findings } = validateConfigText(`${text}\nstate: { backend: memory }\n`, { env: {} });
      return findings.map(({ code, path, fix }) => [code, path, fix]);
    };
    expect(codes('caches: { service: cache }')).toEqual([
      ['SERVICE_UNKNOWN', 'caches.service', 'add it under `services`'],
    ]);
    expect(codes('services: { cache: { type: x } }\ncaches: { service: cahce }')).toEqual([
      ['SERVICE_UNKNOWN', 'caches.service', 'did you mean `cache`?'],
    ]);
    expect(codes('services: { a: { type: valky } }\ncaches: { service: a }')).toEqual([
      ['SERVICE_TYPE', 'services.a.type', 'write `type: valkey` if it is one, or name another service'],
    ]);
    expect(codes('services: { a: {} }\ncaches: { service: a }')).toEqual([
      ['MISSING_KEY', 'services.a.type', 'add `type`: a text'],
    ]);
    expect(codes('caches: { service: constructor }')).toMatchObject([{ 0: 'SERVICE_UNKNOWN' }]);
    expect(codes('services: { a: { type: x, config: { timeout: 5s } } }')).toEqual([]);
  });

  it('is checked in a configuration given as an object as well', () => {
    expect(() => parseConfig({ caches: { service: 'none' } })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
  });
});
