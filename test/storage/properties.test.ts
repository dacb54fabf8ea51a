import { strict as assert } from 'node:assert';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { decode, encode } from '../../src/json.js';
import { EncryptedStorage } from '../../src/storage/encryption/index.js';
import { FileStorage } from '../../src/storage/file/file-storage.js';
import { containerText, decodeName, encodeName, keyText } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { ValkeyStorage } from '../../src/storage/valkey/valkey-storage.js';
import { valkeyUrl } from '../support/index.js';
import { TestClock } from '../support/test-clock.js';
import { type Ability, anyJson, anyName, anyText, sequences } from './arbitraries.js';
import { ModelPair, type Subject } from './model-pair.js';

/** How often each property is tried; for a long search set AGENTUP_PROPERTY_RUNS=10000. */
const RUNS = Number(process.env['AGENTUP_PROPERTY_RUNS'] ?? 60);
const TIME_LIMIT = Math.max(120_000, RUNS * 500);

async function behavesLikeTheModel(able: Omit<Ability, 'instances'>, subject: Subject, runs: number) {
  const { instances = 1 } = subject;
  await fc.assert(
    fc.asyncProperty(sequences({ ...able, instances }), (steps) => new ModelPair(subject).run(steps)),
    { numRuns: runs },
  );
}

describe('any sequence of calls has the answers of a plain model', { timeout: TIME_LIMIT }, () => {
  it('on MemoryStorage', async () => {
    const clock = new TestClock();
    const subject = { clock, open: () => new MemoryStorage({ clock }) };
    await behavesLikeTheModel({ movesTime: true, reopens: false }, subject, RUNS * 5);
  });

  it('on EncryptedStorage', async () => {
    const clock = new TestClock();
    const key = randomBytes(32).toString('base64');
    const subject = { clock, open: () => new EncryptedStorage(new MemoryStorage({ clock }), { key }) };
    await behavesLikeTheModel({ movesTime: true, reopens: false }, subject, RUNS);
  });

  it('on two of FileStorage on one directory', async () => {
    const clock = new TestClock();
    const storageDir = mkdtempSync(join(tmpdir(), 'agentup-properties-'));
    const subject = { clock, instances: 2, open: () => new FileStorage({ storageDir, clock, durability: 'never' }) };
    try {
      await behavesLikeTheModel({ movesTime: true, reopens: true }, subject, RUNS);
    } finally {
      rmSync(storageDir, { recursive: true });
    }
  });

  it('on two of ValkeyStorage with one prefix', async () => {
    const keyPrefix = `properties:${randomBytes(6).toString('hex')}:`;
    const open = () => new ValkeyStorage({ url: valkeyUrl(), keyPrefix });
    await behavesLikeTheModel({ movesTime: false, reopens: true }, { open, instances: 2 }, RUNS);
  });
});

describe('names', { timeout: TIME_LIMIT }, () => {
  const check = <T extends [unknown, ...unknown[]]>(property: fc.IProperty<T>) =>
    fc.assert(property, { numRuns: RUNS * 20 });

  it('are encoded in an alphabet that no file system folds, and come back', () => {
    check(
      fc.property(anyName, (name) => {
        const encoded = encodeName(name);
        assert.match(encoded, /^[a-z0-9_%-]+$/);
        assert.equal(decodeName(encoded), name);
      }),
    );
  });

  it('never become one: the encoding keeps them apart, and a prefix a prefix', () => {
    check(
      fc.property(anyName, anyName, (a, b) => {
        assert.equal(encodeName(a) === encodeName(b), a === b);
        assert.equal(encodeName(a).startsWith(encodeName(b)), a.startsWith(b));
        assert.ok(encodeName(a + b).startsWith(encodeName(a)));
      }),
    );
  });

  it('never make one key of two', () => {
    const key = fc.record({
      space: fc.constantFrom('a', 'a-a', 'aa'),
      scope: fc.array(anyName, { maxLength: 3 }),
      id: anyName,
    });
    // Two keys of the same few parts, joined and split in different ways.
    const near = fc.array(fc.constantFrom('a', '/', ':', '/:', '%', '%2f', 'a/:a'), { minLength: 1, maxLength: 4 });
    const nearKey = near.map((parts) => ({ space: 'a', scope: parts.slice(1), id: parts[0] as string }));
    const either = fc.oneof(key, nearKey);
    check(
      fc.property(either, either, (a, b) => {
        const container = ({ space, scope }: typeof a) => JSON.stringify([space, scope]);
        assert.equal(containerText(a) === containerText(b), container(a) === container(b));
        assert.equal(keyText(a) === keyText(b), container(a) === container(b) && a.id === b.id);
      }),
    );
  });
});

describe('values', { timeout: TIME_LIMIT }, () => {
  it('that are JSON come back equal, and fresh', () => {
    fc.assert(
      fc.property(anyJson, (value) => {
        const token = encode(value);
        assert.deepStrictEqual(decode(token), value);
        assert.equal(encode(decode(token)), token);
        assert.ok(Buffer.from(token).toString() === token, 'the token does not survive UTF-8');
        assert.doesNotMatch(token, /[\n\r]/);
      }),
      { numRuns: RUNS * 10 },
    );
  });

  it('with anything else in them are refused, with the path to it', () => {
    const loop: unknown[] = [];
    loop.push(loop);
    const wrong = fc.constantFrom<unknown>(
      ...[undefined, Number.NaN, Number.POSITIVE_INFINITY, 1n, Symbol('s'), () => 1, new Date(0), new Map(), new Set()],
      ...[new Uint8Array(1), /a/, new Error('e'), Promise.resolve(), new (class A {})()],
      ...[Object.assign([1], { name: 1 }), { [Symbol('s')]: 1 }, new Proxy(new Map(), {}), Object('boxed')],
      Object.defineProperty({ a: 1 }, 'toJSON', { value: () => 1 }),
      Object.defineProperty([1], 'toJSON', { value: () => 1 }),
    );
    const step = fc.oneof(fc.nat(3), anyText);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 5 }), wrong, anyJson, (path, bad, sound) => {
        const value = path.reduceRight<unknown>((inner, at) => {
          if (typeof at === 'string')
            return Object.fromEntries([
              ['first', sound],
              [at, inner],
              ['last', sound],
            ]);
          return [...Array(at).fill(sound), inner, sound];
        }, bad);
        // A later member of the same name has replaced the wrong value.
        fc.pre(!path.includes('last'));
        assert.throws(
          () => encode(value),
          ({ code, details }) => {
            assert.equal(code, 'VALUE_NOT_JSON');
            assert.equal(details.path, pathText(path));
            return true;
          },
        );
      }),
      { numRuns: RUNS * 5 },
    );
    assert.throws(() => encode({ a: [loop] }), { code: 'VALUE_NOT_JSON' });
  });
});

/** A path the way JavaScript writes it. */
function pathText(path: readonly (string | number)[]): string {
  return path.reduce<string>((text, at) => {
    if (typeof at === 'number') return `${text}[${at}]`;
    return /^[A-Za-z_$][A-Za-z0-9_$]*$/.test(at) ? `${text}.${at}` : `${text}[${JSON.stringify(at)}]`;
  }, '$');
}
