import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSecretName, redactText, redactUrl } from '../../src/redact.js';

describe('redactUrl', () => {
  it.each([
    ['valkey://host:6379', 'valkey://host:6379'],
    ['valkey://[::1]:6379/1', 'valkey://[::1]:6379/1'],
    ['valkey://ana:s3cret@host:6379/1', 'valkey://ana:***@host:6379/1'],
    ['rediss://:s3cret@host', 'rediss://:***@host'],
    ['valkey://s3cret@host', 'valkey://***@host'],
    ['valkey://ana:s3@cr:et/?#x@host', 'valkey://ana:***@host'],
    ['valkey://ana:s3 cret@host:bad', 'valkey://ana:***@host:bad'],
    ['ana:s3cret@host:6379', 'ana:***@host:6379'],
    [':s3cret@host', ':***@host'],
    ['valkey://ana:s3cret', 'valkey://ana:***'],
    ['valkey://:s3cret', 'valkey://:***'],
    ['valkey://host/?password=s3cret&x=1', 'valkey://host/?password=***&x=1'],
    ['valkey://${USER}:${PASSWORD}@${HOST}:${PORT}', 'valkey://${USER}:${PASSWORD}@${HOST}:${PORT}'],
    ['valkey://ana:${PASSWORD:s3cret}@host', 'valkey://ana:***@host'],
    ['', ''],
    ['file', 'file'],
  ])('%s', (url, shown) => {
    expect(redactUrl(url)).toBe(shown);
    expect(redactUrl(shown)).toBe(shown);
  });

  it('never shows a password, whatever it holds', () => {
    const password = fc
      .string({ unit: 'grapheme', minLength: 4 })
      .filter((text) => !/^[\d*]+$/.test(text) && !/^(\$\{[A-Za-z_]\w*\}|:)*$/.test(text));
    fc.assert(
      fc.property(
        fc.constantFrom('valkey', 'redis', 'http', 'x'),
        fc.constantFrom('', 'ana'),
        password,
        (scheme, user, secret) => {
          expect(redactUrl(`${scheme}://${user}:${secret}@host.example:6379`)).toBe(
            `${scheme}://${user}:***@host.example:6379`,
          );
        },
      ),
    );
  });
});

describe('redactText', () => {
  it.each([
    ['connecting to valkey://ana:s3cret@host failed', 'connecting to valkey://ana:***@host failed'],
    ['  url: "valkey://:s3 cret@host:1" # ask', '  url: "valkey://:***@host:1" # ask'],
    ['password: s3cret', 'password: ***'],
    ['  api_key: "s3 cret", x: 1', '  api_key: ***, x: 1'],
    ['{ client_secret: s3cret, x: 1 }', '{ client_secret: ***, x: 1 }'],
    ["accessToken='s3cret'", 'accessToken=***'],
    ['password: ${PASSWORD}', 'password: ${PASSWORD}'],
    ['password: "${PASSWORD}" # from the environment', 'password: "${PASSWORD}" # from the environment'],
    ['password: "${PASSWORD:s3cret}"', 'password: ***'],
    ['url: "${VALKEY_URL:valkey://localhost:6379}"', 'url: "${VALKEY_URL:valkey://localhost:6379}"'],
    ['two\nvalkey://a:b@c\nlines', 'two\nvalkey://a:***@c\nlines'],
    ['nothing to hide: 12:30 in the morning', 'nothing to hide: 12:30 in the morning'],
  ])('%s', (text, shown) => {
    expect(redactText(text)).toBe(shown);
  });

  it('takes any text in little time', () => {
    for (const piece of ['a', 'a://', 'token', 'password: ', '://x:', '@', '${', '?token=']) {
      const started = performance.now();
      redactText(piece.repeat(100_000 / piece.length));
      expect(performance.now() - started).toBeLessThan(1000);
    }
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void redactText(text)));
  });
});

it('knows the names of secrets', () => {
  expect(
    ['password', 'DB_PASSWORD', 'apiKey', 'api-key', 'client_secret', 'access_token', 'private_key'].filter(
      (name) => !isSecretName(name),
    ),
  ).toEqual([]);
  expect(['url', 'key_prefix', 'ttl', 'keywords', 'pass'].filter(isSecretName)).toEqual([]);
});
