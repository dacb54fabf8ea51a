import { describe, expect, it } from 'vitest';
import { validateConfigText } from '../../src/config/index.js';

const env = { VALKEY_URL: 'valkey://ana:s3cret@cache:6379', PASSWORD: 's3cret' };
const warned = (text: string) =>
  validateConfigText(text, { env }).findings.map(({ code, path, severity }) => [severity, code, path]);

describe('a password in the URL of a server', () => {
  it('is warned of where it stands in the file, and not shown', () => {
    const text = [
      'state: { backend: valkey, url: "valkey://ana:s3cret@cache:6379/1", key_prefix: "a:" }',
      'services:',
      '  cache: { type: valkey, config: { url: "redis://:s3cret@cache" } }',
      'caches: { service: cache }',
    ].join('\n');
    expect(warned(text)).toEqual([
      ['warning', 'SECRET_IN_FILE', 'state.url'],
      ['warning', 'SECRET_IN_FILE', 'services.cache.config.url'],
    ]);
    expect(JSON.stringify(validateConfigText(text, { env }).findings)).not.toContain('s3cret');
  });

  it.each(['"${VALKEY_URL}"', '"valkey://ana:${PASSWORD}@cache:6379"', 'valkey://cache:6379', 'valkey://ana@cache'])(
    'is none in %s',
    (url) => {
      expect(warned(`state: { backend: valkey, url: ${url}, key_prefix: "a:" }`)).toEqual([]);
    },
  );
});
