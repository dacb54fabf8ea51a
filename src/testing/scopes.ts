import assert from 'node:assert/strict';
import { encode } from '../json.js';
import { MAX_ID_LENGTH, type RecordKey } from '../storage/keys.js';
import type { Harness } from './harness.js';
import { commit, found, idsOf, logs, sets } from './steps.js';

/** Ids that are one and the same for a backend that escapes, folds, normalises, cuts or interprets them. */
export const AWKWARD_IDS: readonly string[] = [
  'a',
  'A',
  'a ',
  ' a',
  'a.',
  '.',
  '..',
  '../a',
  'a/b',
  'a\\b',
  'a:b',
  'a_b',
  'a-b',
  'a%3ab',
  'a%3Ab',
  '%',
  '%61',
  '*',
  '?',
  '[a]',
  '{a}',
  'a}',
  '~',
  'a\0b',
  'a\nb',
  'é',
  'e\u0301',
  'ß',
  'ss',
  'ſ',
  'İ',
  'i',
  'I',
  '😀',
  '\ufeff',
  '\u202e',
  'con',
  'nul',
  'com1',
  'lpt1',
  'con.jsonl',
  '__proto__',
  'constructor',
  'undefined',
  '0',
  'a.lock',
  'a:log',
  'a:lease',
  'x'.repeat(140),
  'x'.repeat(141),
  'x'.repeat(300),
  `${'x'.repeat(299)}y`,
  'É'.repeat(100),
  `${'É'.repeat(99)}é`,
  `${'😀'.repeat(MAX_ID_LENGTH / 2 - 1)}ab`,
  `${'😀'.repeat(MAX_ID_LENGTH / 2 - 1)}ac`,
];

/** P9: no two keys ever meet. */
export function testScopes(harness: Harness): void {
  harness.group('keys never collide (P9)', () => {
    harness.test('ids', async ({ storage, key, space }) => {
      await apart(
        storage,
        AWKWARD_IDS.map((id) => key(id)),
      );
      const listed = await idsOf(storage, { space });
      assert.deepEqual(listed.sort(), [...AWKWARD_IDS].sort());
    });

    harness.test('scopes', async ({ storage, key, space }) => {
      await apart(
        storage,
        AWKWARD_IDS.map((scope) => key('id', scope)),
      );
      for (const scope of AWKWARD_IDS) {
        const keys: RecordKey[] = [];
        for await (const info of storage.list({ space, scope: [scope] })) keys.push(info.key);
        assert.deepEqual(keys, [key('id', scope)]);
      }
    });

    harness.test('scopes of different depth, and parts that could be joined', async ({ storage, key, space }) => {
      await apart(storage, [
        key('c'),
        key('c', 'a'),
        key('c', 'a', 'b'),
        key('c', 'b', 'a'),
        key('c', 'a/b'),
        key('c', 'a:b'),
        key('b/c', 'a'),
        key('b:c', 'a'),
        key(':c', 'a', 'b'),
        key('a'),
        key('a/c'),
        key('a/:c'),
        key('b', 'a', 'c'),
        key('c', 'a', 'b', 'c'),
      ]);
      assert.deepEqual(await idsOf(storage, { space, scope: ['a', 'b'] }), [':c', 'c'].sort());
      assert.deepEqual(await idsOf(storage, { space, scope: ['a/b'] }), ['c']);
    });

    harness.test('spaces', async ({ storage, space, key }) => {
      const keys = ['', '-a', '-aa', '0', '-a-a'].map((end) => ({ ...key('a'), space: `${space}${end}` }));
      await apart(storage, keys);
      assert.deepEqual(await idsOf(storage, { space }), ['a']);
      for (const one of keys) assert.equal(await storage.delete(one), true);
    });

    harness.test('deleting one leaves all the others', async ({ storage, key, space }) => {
      for (const id of AWKWARD_IDS) await commit(storage, key(id), sets({ id: encode(id) }));
      const rest = new Set(AWKWARD_IDS);
      for (const id of AWKWARD_IDS) {
        assert.equal(await storage.delete(key(id)), true, `${JSON.stringify(id)} was gone before it was deleted`);
        rest.delete(id);
      }
      assert.equal(rest.size, 0);
      assert.deepEqual(await idsOf(storage, { space }), []);
    });

    harness.test('owners', async ({ storage, key, space }) => {
      await Promise.all(AWKWARD_IDS.map((owner, index) => commit(storage, key(`r${index}`), [{ op: 'owner', owner }])));
      for (const [index, owner] of AWKWARD_IDS.entries()) {
        assert.deepEqual(await idsOf(storage, { space, owner }), [`r${index}`], JSON.stringify(owner));
      }
    });
  });
}

/** Writes a mark into each record, and then finds its own in each. */
async function apart(storage: Parameters<typeof commit>[0], keys: readonly RecordKey[]): Promise<void> {
  const markOf = (key: RecordKey) => encode([key.space, key.scope, key.id]);
  for (const key of keys) {
    await commit(storage, key, [...sets({ mark: markOf(key) }), ...logs(markOf(key))], {
      condition: { exists: false },
    });
  }
  for (const key of keys) {
    const record = await found(storage, key, 9);
    assert.equal(record.fields.get('mark'), markOf(key));
    assert.deepEqual(record.log, [markOf(key)]);
  }
}
