import assert from 'node:assert/strict';
import type { ErrorCode } from '../errors.js';
import type { RecordKey } from '../storage/keys.js';
import type { Change, CommitOptions, StateStorage } from '../storage/state-storage.js';
import type { Harness } from './harness.js';
import { commit, fails, found, idsOf, logs, sets } from './steps.js';

const MAX = Number.MAX_SAFE_INTEGER;

/** Change lists whose first changes are good and whose last cannot apply to the record that is there. */
const FAILING: readonly [string, ErrorCode, Change][] = [
  ['an increment of a text', 'WRONG_TYPE', { op: 'increment', field: 'text', by: 1 }],
  ['an increment of a text of digits', 'WRONG_TYPE', { op: 'increment', field: 'digits', by: 1 }],
  ['an increment of a fraction', 'WRONG_TYPE', { op: 'increment', field: 'fraction', by: 1 }],
  ['an increment of null', 'WRONG_TYPE', { op: 'increment', field: 'null', by: 1 }],
  ['an increment of a list', 'WRONG_TYPE', { op: 'increment', field: 'list', by: 1 }],
  ['an increment past the end of the range', 'INTEGER_OVERFLOW', { op: 'increment', field: 'max', by: 1 }],
  ['an increment below the range', 'INTEGER_OVERFLOW', { op: 'increment', field: 'min', by: -1 }],
  ['an append to a text', 'WRONG_TYPE', { op: 'append', field: 'text', item: '1' }],
  ['an append to a text that looks like a list', 'WRONG_TYPE', { op: 'append', field: 'brackets', item: '1' }],
  ['an append to an object', 'WRONG_TYPE', { op: 'append', field: 'object', item: '1' }],
  ['an append to an integer', 'WRONG_TYPE', { op: 'append', field: 'max', item: '1' }],
];

const CONTENT = sets({
  text: '"a"',
  digits: '"1"',
  fraction: '1.5',
  null: 'null',
  list: '[1]',
  max: String(MAX),
  min: String(-MAX),
  brackets: '"[1]"',
  object: '{"a":[1]}',
});

/** P3: a change list applies whole or not at all. */
export function testAtomicity(harness: Harness): void {
  harness.group('a change list applies whole or not at all (P3)', () => {
    for (const [name, code, bad] of FAILING) {
      harness.test(`${name} at its end`, async ({ storage, key, space }) => {
        await commit(storage, key(), [...CONTENT, ...logs('0'), { op: 'owner', owner: 'ann' }], {
          expiry: { set: 60 },
        });
        await unchangedBy(storage, key(), code, [
          { op: 'clearFields' },
          { op: 'clearLog' },
          ...CONTENT,
          ...sets({ text: '"b"', fresh: '1' }),
          ...logs('1'),
          { op: 'remove', field: 'object' },
          { op: 'increment', field: 'count', by: 1 },
          { op: 'owner', owner: 'bob' },
          ...sets({ text: '"b"', object: '{}' }),
          bad,
          ...sets({ late: '1' }),
        ]);
        assert.deepEqual(await idsOf(storage, { space, owner: 'ann' }), ['record']);
        assert.deepEqual(await idsOf(storage, { space, owner: 'bob' }), []);
      });
    }

    harness.test('what one change of the list has made fails a later one', async ({ storage, key }) => {
      await commit(storage, key(), sets({ n: '1', list: '[1]' }));
      await unchangedBy(storage, key(), 'WRONG_TYPE', [...sets({ n: '"x"' }), { op: 'increment', field: 'n', by: 1 }]);
      await unchangedBy(storage, key(), 'WRONG_TYPE', [
        { op: 'increment', field: 'list2', by: 1 },
        { op: 'append', field: 'list2', item: '1' },
      ]);
      await unchangedBy(storage, key(), 'INTEGER_OVERFLOW', [
        { op: 'increment', field: 'n', by: MAX - 1 },
        { op: 'increment', field: 'n', by: 1 },
        { op: 'increment', field: 'n', by: -1 },
      ]);
    });

    harness.test('a record is not created by a list that fails', async ({ storage, key, space }) => {
      await fails('WRONG_TYPE', () =>
        storage.commit(key(), [...sets({ a: '"x"' }), ...logs('1'), { op: 'increment', field: 'a', by: 1 }]),
      );
      assert.equal(await storage.read(key()), undefined);
      assert.deepEqual(await idsOf(storage, { space }), []);
    });

    harness.test('a failed commit keeps its lease, and its id is not used up', async ({ storage, key }) => {
      await commit(storage, key(), sets({ text: '"a"' }));
      await storage.begin(key(), { token: 'a', leaseMs: 60_000 });
      const options = { lease: { token: 'a' }, commitId: 'c-1' };
      await fails('WRONG_TYPE', () => storage.commit(key(), [{ op: 'increment', field: 'text', by: 1 }], options));
      await commit(storage, key(), sets({ text: '"b"' }), options);
      assert.equal((await found(storage, key())).fields.get('text'), '"b"');
    });

    harness.test('with too many fields', async ({ storage, key }) => {
      await commit(storage, key(), sets({ a: '1', b: '2' }), { maxFields: 2 });
      await unchangedBy(storage, key(), 'LIMIT_EXCEEDED', sets({ a: '9', c: '3' }), { maxFields: 2 });
      await unchangedBy(storage, key(), 'LIMIT_EXCEEDED', [{ op: 'increment', field: 'c', by: 1 }], { maxFields: 2 });
      await unchangedBy(storage, key(), 'LIMIT_EXCEEDED', [{ op: 'append', field: 'c', item: '1' }], { maxFields: 2 });
      await commit(storage, key(), [...sets({ c: '3' }), { op: 'remove', field: 'a' }], { maxFields: 2 });
      await commit(storage, key(), [{ op: 'clearFields' }, ...sets({ x: '1', y: '2' })], { maxFields: 2 });
      const over = [{ op: 'clearFields' } as const, ...sets({ x: '1', y: '2', z: '3' })];
      await unchangedBy(storage, key(), 'LIMIT_EXCEEDED', over, { maxFields: 2 });
    });

    harness.test('a record that has too many fields already may change and shrink', async ({ storage, key }) => {
      await commit(storage, key(), sets({ a: '1', b: '2', c: '3' }));
      await commit(storage, key(), [...sets({ a: '9', d: '4' }), { op: 'remove', field: 'b' }], { maxFields: 1 });
      await commit(storage, key(), [{ op: 'remove', field: 'd' }], { maxFields: 1 });
      assert.deepEqual((await found(storage, key())).fields.size, 2);
      await unchangedBy(storage, key(), 'LIMIT_EXCEEDED', sets({ e: '1' }), { maxFields: 1 });
    });
  });
}

async function unchangedBy(
  storage: StateStorage,
  key: RecordKey,
  code: ErrorCode,
  changes: readonly Change[],
  options?: CommitOptions,
): Promise<void> {
  const before = await found(storage, key, 99);
  await fails(code, () => storage.commit(key, changes, options));
  assert.deepEqual(await found(storage, key, 99), before, 'a commit that failed has left something');
}
