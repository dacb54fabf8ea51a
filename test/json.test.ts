import { strict as assert } from 'node:assert';
import { inspect } from 'node:util';
import { runInNewContext } from 'node:vm';
import { describe, it } from 'vitest';
import { AgentUpError } from '../src/errors.js';
import { appendToken, decode, encode, integerOf } from '../src/json.js';

function refusal(value: unknown): { path: string | undefined; fix: string | undefined; message: string } {
  try {
    encode(value);
  } catch (error) {
    assert.ok(error instanceof AgentUpError && error.code === 'VALUE_NOT_JSON', String(error));
    return { path: error.details.path, fix: error.details.fix, message: error.message };
  }
  assert.fail('the value was not refused');
}

/** `depth` lists, one in the other. */
function nested(depth: number): unknown {
  let value: unknown = [];
  for (let level = 1; level < depth; level++) value = [value];
  return value;
}

describe('encode writes', () => {
  const TOKENS: readonly [unknown, string][] = [
    [null, 'null'],
    [true, 'true'],
    ['', '""'],
    ['1', '"1"'],
    ['null', '"null"'],
    ['+51 999', '"+51 999"'],
    ['2025-01-01T00:00:00Z', '"2025-01-01T00:00:00Z"'],
    ['a\n"\\', '"a\\n\\"\\\\"'],
    ['\ud800', '"\\ud800"'],
    [0, '0'],
    [-0, '-0'],
    [1.5, '1.5'],
    [1e21, '1e+21'],
    [Number.MAX_SAFE_INTEGER, '9007199254740991'],
    [[], '[]'],
    [{}, '{}'],
    [{ b: [1, { a: null }], a: 'x' }, '{"b":[1,{"a":null}],"a":"x"}'],
    [[-0, { a: -0, 'b"': ['x\ud800', true] }], '[-0,{"a":-0,"b\\"":["x\\ud800",true]}]'],
    [JSON.parse('{"__proto__":1}'), '{"__proto__":1}'],
    [JSON.parse('{"__proto__":-0}'), '{"__proto__":-0}'],
  ];
  for (const [value, token] of TOKENS) {
    it(token, () => {
      assert.equal(encode(value), token);
      assert.deepStrictEqual(decode(token), value);
    });
  }

  it('objects without a prototype and of another realm', () => {
    assert.equal(encode(Object.assign(Object.create(null), { a: 1 })), '{"a":1}');
    assert.equal(encode(runInNewContext('({ a: [1, { b: null }] })')), '{"a":[1,{"b":null}]}');
  });

  it('the same object twice, as it is no cycle', () => {
    const shared = { a: 1 };
    assert.equal(encode([shared, shared]), '[{"a":1},{"a":1}]');
  });

  it('an own field called toJSON or constructor that holds data', () => {
    assert.equal(encode({ toJSON: 1, constructor: 'x' }), '{"toJSON":1,"constructor":"x"}');
  });

  it('500 levels and no more', () => {
    assert.equal(encode(nested(500)), '['.repeat(500) + ']'.repeat(500));
    assert.match(refusal(nested(501)).message, /nested deeper than 500 levels/);
    assert.match(refusal(nested(100_000)).message, /nested deeper than 500 levels/);
  });
});

describe('encode refuses, and says where', () => {
  class Point {
    x = 1;
  }
  class List extends Array {}
  const loop: { inner: unknown[] } = { inner: [] };
  loop.inner.push(0, loop);
  const sparse = [1, 2, 3];
  delete sparse[1];

  const REFUSED: readonly [string, unknown, string, RegExp][] = [
    ['undefined', undefined, '$', /is undefined/],
    ['a field that is undefined', { a: undefined }, '$.a', /is undefined/],
    ['an item that is undefined', [1, undefined], '$[1]', /is undefined/],
    ['a function', { a: [() => 1] }, '$.a[0]', /a function/],
    ['a symbol', { a: Symbol('s') }, '$.a', /a symbol/],
    ['a BigInt', { a: { b: 1n } }, '$.a.b', /a bigint/],
    ['NaN', [[Number.NaN]], '$[0][0]', /NaN/],
    ['infinity', { 'a b': Number.NEGATIVE_INFINITY }, '$["a b"]', /-Infinity/],
    ['a Date', { at: new Date(0) }, '$.at', /instance of Date/],
    ['an invalid Date', new Date(Number.NaN), '$', /instance of Date/],
    ['a Map', { a: new Map([[1, 2]]) }, '$.a', /instance of Map/],
    ['a Set', new Set(), '$', /instance of Set/],
    ['bytes', Buffer.from('a'), '$', /instance of Buffer/],
    ['an error', new Error('e'), '$', /instance of Error/],
    ['a boxed text', Object('x'), '$', /instance of String/],
    ['an instance', [new Point()], '$[0]', /instance of Point/],
    ['an instance of a nameless class', new (class {})(), '$', /instance of a class/],
    ['a Map of another realm', runInNewContext('new Map()'), '$', /instance of Map/],
    ['a list with a class of its own', List.from([1]), '$', /instance of List/],
    ['a cycle', loop, '$.inner[1]', /a cycle/],
    ['a hole', sparse, '$[1]', /a hole/],
    ['a list with a name', Object.assign([1], { a: 1 }), '$', /named properties/],
    ['a symbol as a name', { [Symbol('s')]: 1 }, '$', /symbol property/],
    ['a symbol as a name in a list', Object.assign([1], { [Symbol('s')]: 1 }), '$', /symbol property/],
    ['its own toJSON', { toJSON: () => 1 }, '$.toJSON', /a function/],
    ['a hidden toJSON', Object.defineProperty({}, 'toJSON', { value: () => 1 }), '$', /toJSON/],
    ['a hidden toJSON of a list', Object.defineProperty([1], 'toJSON', { value: () => 1 }), '$', /toJSON/],
    ['a name that needs quotes', { 'a.b': { 'c"': undefined } }, '$["a.b"]["c\\""]', /is undefined/],
  ];
  for (const [name, value, path, message] of REFUSED) {
    it(name, () => {
      const refused = refusal(value);
      assert.equal(refused.path, path);
      assert.match(refused.message, message);
      assert.ok(refused.message.startsWith(path));
    });
  }

  const INSTEAD: readonly [value: unknown, fix: string | undefined][] = [
    [{ at: new Date(0) }, 'store what its toISOString() gives'],
    [new Map(), 'store Object.fromEntries() of it'],
    [new Set(), 'store an array of its values'],
    [10n, 'store String() of it'],
    [Promise.resolve(1), 'await it first'],
    [Buffer.from('a'), "store what its toString('base64') gives"],
    [new URL('http://h'), 'store its href'],
    [{ a: undefined }, 'leave it out, or store null'],
    [new Point(), 'store a plain object with its fields'],
    [Number.NaN, undefined],
  ];
  for (const [value, fix] of INSTEAD) {
    it(`what to store instead of ${inspect(value)}`, () => assert.equal(refusal(value).fix, fix));
  }
});

describe('tokens', () => {
  it('hold an integer, or not', () => {
    for (const token of ['0', '7', '-7', '9007199254740991', '-9007199254740991']) {
      assert.equal(integerOf(token), Number(token));
    }
    const others = ['-0', '1.5', '1e3', '"7"', 'null', '[7]', '', '07', '+7', ' 7', '9007199254740992', '1'.repeat(30)];
    for (const token of others) assert.equal(integerOf(token), undefined, token);
  });

  it('of a list take one more item', () => {
    assert.equal(appendToken('[]', '1'), '[1]');
    assert.equal(appendToken('[[]]', '{"a":[]}'), '[[],{"a":[]}]');
    assert.deepEqual(decode(appendToken(encode(['a]']), encode(']'))), ['a]', ']']);
  });

  it('give a fresh value each time', () => {
    const token = encode({ a: [1] });
    decode<{ a: number[] }>(token).a.push(2);
    assert.deepEqual(decode(token), { a: [1] });
  });
});
