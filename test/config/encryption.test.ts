import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { validateConfigText } from '../../src/config/index.js';

const KEY = randomBytes(32).toString('base64');
const OLD = randomBytes(32).toString('hex');
const env = { STATE_KEY: KEY, OLD_KEY: OLD, SHORT: 'correct horse battery' };
const findings = (encryption: string, backend = 'file') =>
  validateConfigText(`state:\n  backend: ${backend}\n${encryption}\n`, { env }).findings;
const shown = (encryption: string) => JSON.stringify(findings(encryption));

describe('state.encryption', () => {
  it('takes keys from the environment', () => {
    expect(findings('  encryption: { key: "${STATE_KEY}", previous: ["${OLD_KEY}"], allow_clear: true }')).toEqual([]);
  });

  it('warns of keys that stand in the file, and shows none', () => {
    const inFile = [
      `  encryption: { key: "${KEY}", previous: ["${OLD}", "\${OLD_KEY}"] }`,
      `  encryption:\n    key: ${KEY}\n    previous:\n      - ${OLD}\n      - "\${OLD_KEY}"`,
    ];
    for (const text of inFile) {
      expect(findings(text).map(({ code, path }) => [code, path])).toEqual([
        ['SECRET_IN_FILE', 'state.encryption.key'],
        ['SECRET_IN_FILE', 'state.encryption.previous[0]'],
      ]);
      expect(shown(text)).not.toContain(KEY.slice(0, 20));
      expect(shown(text)).not.toContain(OLD.slice(0, 20));
    }
  });

  it('refuses what is no key, without repeating it', () => {
    for (const text of [
      '  encryption: { key: "${SHORT}" }',
      '  encryption: { key: "correct horse battery" }',
      '  encryption: { key: "${STATE_KEY}", previous: ["${SHORT}"] }',
      '  encryption:\n    key: "${STATE_KEY}"\n    previous:\n      - correct horse battery',
    ]) {
      const error = findings(text).find(({ severity }) => severity === 'error');
      expect(error?.code).toBe('INVALID_VALUE');
      expect(error?.message).toContain('openssl rand -base64 32');
      expect(shown(text)).not.toContain('horse');
    }
    expect(findings('  encryption: { key: 12345678 }')[0]).toMatchObject({ code: 'WRONG_TYPE' });
    expect(shown('  encryption: { key: 12345678 }')).not.toContain('12345678');
  });

  it('needs a key, and says nothing to a store in memory', () => {
    expect(findings('  encryption: { previous: [] }')[0]).toMatchObject({ code: 'MISSING_KEY' });
    expect(findings('  encryption: { key: "${STATE_KEY}" }', 'memory')[0]).toMatchObject({ code: 'OPTION_UNUSED' });
  });
});
