import assert from 'node:assert/strict';
import { encode } from '../json.js';
import type { Harness } from './harness.js';
import { commit, fieldsOf, found, logs, pageOf, sets } from './steps.js';

/** Tokens that break whoever parses, trims, coerces, escapes or re-encodes them. */
export const AWKWARD_VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -0,
  -1,
  1.5,
  1e21,
  5e-324,
  Number.MAX_SAFE_INTEGER,
  Number.MIN_SAFE_INTEGER,
  '',
  ' ',
  '1',
  '007',
  '-0',
  'null',
  'true',
  'undefined',
  '[]',
  '{}',
  '+51 999',
  '2025-01-01T00:00:00Z',
  '\r\n\t\0\u0001',
  '\u2028\u2029',
  '"\\"',
  '\\u0000',
  'é',
  'e\u0301',
  '😀',
  '\ud800',
  '%41%%',
  [],
  {},
  [[]],
  [{}],
  { list: [], map: {} },
  [1, '1', null, [true]],
  { '': 0, __proto: 1, 'a.b': 2, $: 3 },
  JSON.parse('{"__proto__":{"polluted":true},"constructor":1}'),
];

/** Field names that meet something of the backend's own, of JavaScript's, or of a pattern's. */
const AWKWARD_NAMES: readonly string[] = [
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'toString',
  'version',
  'owner',
  'createdAt',
  'updatedAt',
  'expiresAt',
  'log',
  'lease',
  'fields',
  'id',
  '0',
  '-',
  '*',
  ' ',
  'a:b',
  'a/b',
  '../a',
  'a\0b',
  'a\nb',
  'a',
  'A',
  'é',
  'e\u0301',
  '😀',
  '%61',
];

/** P1, as far as a storage can break it. */
export function testValues(harness: Harness): void {
  harness.group('values come back byte for byte (P1)', () => {
    harness.test('in fields', async ({ storage, key }) => {
      const fields: Record<string, string> = {};
      AWKWARD_VALUES.forEach((value, index) => {
        fields[`v${index}`] = encode(value);
      });
      await commit(storage, key(), sets(fields));
      assert.deepEqual(Object.fromEntries((await found(storage, key())).fields), fields);
    });

    harness.test('in the log, in order', async ({ storage, key }) => {
      const entries = AWKWARD_VALUES.map(encode);
      await commit(storage, key(), logs(...entries));
      assert.deepEqual((await found(storage, key(), entries.length)).log, entries);
      assert.deepEqual((await pageOf(storage, key())).entries, entries);
    });

    harness.test('as items of a list', async ({ storage, key }) => {
      const items = AWKWARD_VALUES.map(encode);
      await commit(
        storage,
        key(),
        items.map((item) => ({ op: 'append', field: 'list', item })),
      );
      assert.equal((await found(storage, key())).fields.get('list'), `[${items.join(',')}]`);
    });

    harness.test('under any field name', async ({ storage, key }) => {
      const changes = AWKWARD_NAMES.map((field) => ({ op: 'set', field, value: encode(field) }) as const);
      await commit(storage, key(), changes);
      const wanted = AWKWARD_NAMES.map((name): [string, string] => [name, encode(name)]);
      assert.deepEqual(
        fieldsOf(await found(storage, key())),
        wanted.sort(([a], [b]) => (a < b ? -1 : 1)),
      );
    });

    harness.test('under any owner', async ({ storage, key }) => {
      for (const owner of AWKWARD_NAMES) {
        await commit(storage, key(), [{ op: 'owner', owner }]);
        assert.equal((await found(storage, key())).owner, owner);
      }
    });

    harness.test('when they are large', async ({ storage, key }) => {
      const large = encode('é"'.repeat(500_000));
      await commit(storage, key(), [...sets({ large }), ...logs(large)]);
      const record = await found(storage, key(), 1);
      assert.ok(record.fields.get('large') === large, 'the field has changed');
      assert.ok(record.log[0] === large, 'the log entry has changed');
    });

    harness.test('when they are many in one commit', async ({ storage, key }) => {
      const names = Array.from({ length: 10_000 }, (_, index) => String(index));
      const changes = names.flatMap((name) => [...sets({ [name]: name }), ...logs(name)]);
      await commit(storage, key(), changes);
      const record = await found(storage, key(), names.length);
      assert.equal(record.fields.size, names.length);
      assert.deepEqual(record.log, names);
      const removal = names.slice(1).map((field) => ({ op: 'remove', field }) as const);
      await commit(storage, key(), removal);
      assert.deepEqual(fieldsOf(await found(storage, key())), [['0', '0']]);
    });

    harness.test('when they are nested as deep as values may be', async ({ storage, key, second }) => {
      const deep = encode(Array.from({ length: 499 }).reduce<unknown>((inner) => [inner], []));
      const changes = [...sets({ deep }), ...logs(deep), { op: 'append', field: 'list', item: deep } as const];
      await commit(storage, key(), changes);
      const instances = harness.backend.reopen ? [storage, await second()] : [storage];
      for (const instance of instances) {
        const record = await found(instance, key(), 1);
        assert.equal(record.fields.get('deep'), deep);
        assert.equal(record.fields.get('list'), `[${deep}]`);
        assert.deepEqual(record.log, [deep]);
      }
    });

    harness.test('null, an empty text and a missing field are three things', async ({ storage, key }) => {
      await commit(storage, key(), sets({ nothing: 'null', empty: '""' }));
      const { fields } = await found(storage, key());
      assert.equal(fields.get('nothing'), 'null');
      assert.equal(fields.get('empty'), '""');
      assert.equal(fields.has('missing'), false);
    });
  });
}
