import assert from 'node:assert/strict';
import type { Change } from '../storage/state-storage.js';
import type { Harness } from './harness.js';
import { commit, fieldsOf, found, idsOf, logs, sets } from './steps.js';

/** What each change does, alone and after others of the same list. */
export function testChanges(harness: Harness): void {
  harness.group('changes', () => {
    harness.test('set and remove', async ({ storage, key }) => {
      await commit(storage, key(), sets({ a: '1', b: '2' }));
      await commit(storage, key(), [...sets({ a: '3' }), { op: 'remove', field: 'b' }, { op: 'remove', field: 'c' }]);
      assert.deepEqual(fieldsOf(await found(storage, key())), [['a', '3']]);
    });

    harness.test('a record without fields is still a record', async ({ storage, key, space }) => {
      await commit(storage, key(), sets({ a: '1' }));
      await commit(storage, key(), [{ op: 'remove', field: 'a' }]);
      assert.deepEqual(fieldsOf(await found(storage, key())), []);
      assert.deepEqual(await idsOf(storage, { space }), ['record']);
    });

    harness.test('increment counts a missing field as 0 and answers the new values', async ({ storage, key }) => {
      const answer = await commit(storage, key(), [
        { op: 'increment', field: 'a', by: 5 },
        { op: 'increment', field: 'b', by: -2 },
        { op: 'increment', field: 'a', by: 0 },
        { op: 'increment', field: 'a', by: -1 },
      ]);
      assert.deepEqual([...answer.incremented].sort(), [
        ['a', 4],
        ['b', -2],
      ]);
      assert.deepEqual(fieldsOf(await found(storage, key())), [
        ['a', '4'],
        ['b', '-2'],
      ]);
    });

    harness.test('increment is exact to the end of the range', async ({ storage, key }) => {
      const max = Number.MAX_SAFE_INTEGER;
      await commit(storage, key(), sets({ up: String(max - 2), down: String(2 - max) }));
      const answer = await commit(storage, key(), [
        { op: 'increment', field: 'up', by: 2 },
        { op: 'increment', field: 'down', by: -2 },
        { op: 'increment', field: 'new', by: -max },
        { op: 'increment', field: 'new', by: max },
      ]);
      assert.deepEqual(answer.incremented, new Map(Object.entries({ up: max, down: -max, new: 0 })));
      assert.equal((await found(storage, key())).fields.get('up'), '9007199254740991');
    });

    harness.test('append counts a missing field as an empty list', async ({ storage, key }) => {
      await commit(storage, key(), [
        ...sets({ a: '[]', b: '[[1],{}]' }),
        { op: 'append', field: 'a', item: '[]' },
        { op: 'append', field: 'b', item: 'null' },
        { op: 'append', field: 'c', item: '"x"' },
        { op: 'append', field: 'c', item: '{"a":[]}' },
      ]);
      assert.deepEqual(fieldsOf(await found(storage, key())), [
        ['a', '[[]]'],
        ['b', '[[1],{},null]'],
        ['c', '["x",{"a":[]}]'],
      ]);
    });

    harness.test('apply in their order, each on what the ones before have made', async ({ storage, key }) => {
      await commit(storage, key(), [...sets({ a: '1', old: '1' }), ...logs('"old"')]);
      await commit(storage, key(), [
        { op: 'increment', field: 'a', by: 1 },
        { op: 'set', field: 'b', value: '10' },
        { op: 'increment', field: 'b', by: 1 },
        { op: 'remove', field: 'a' },
        { op: 'append', field: 'a', item: '1' },
        { op: 'clearFields' },
        { op: 'increment', field: 'b', by: 1 },
        { op: 'append', field: 'a', item: '2' },
        { op: 'log', entry: '"lost"' },
        { op: 'clearLog' },
        { op: 'log', entry: '"kept"' },
      ]);
      const record = await found(storage, key(), 9);
      assert.deepEqual(fieldsOf(record), [
        ['a', '[2]'],
        ['b', '1'],
      ]);
      assert.deepEqual(record.log, ['"kept"']);
    });

    harness.test('clearFields keeps the log and the attributes, clearLog the fields', async ({ storage, key }) => {
      const made: Change[] = [...sets({ a: '1' }), ...logs('0', '1'), { op: 'owner', owner: 'ann' }];
      const { expiresAt } = await commit(storage, key(), made, { expiry: { set: 100 } });
      await commit(storage, key(), [{ op: 'clearFields' }]);
      const record = await found(storage, key(), 9);
      assert.deepEqual(fieldsOf(record), []);
      assert.deepEqual(record.log, ['0', '1']);
      assert.equal(record.owner, 'ann');
      assert.equal(record.expiresAt, expiresAt);
      await commit(storage, key(), [...sets({ b: '2' }), { op: 'clearLog' }]);
      const cleared = await found(storage, key(), 9);
      assert.deepEqual([fieldsOf(cleared), cleared.log, cleared.logTotal], [[['b', '2']], [], 0]);
    });

    harness.test('touch creates a record, and moves nothing but its time', async ({ storage, key, pass }) => {
      const first = await commit(storage, key(), [{ op: 'touch' }]);
      const made = await found(storage, key());
      assert.deepEqual(fieldsOf(made), []);
      assert.equal(made.createdAt, first.updatedAt);
      await pass(5);
      const second = await commit(storage, key(), [{ op: 'touch' }]);
      assert.ok(second.updatedAt > first.updatedAt);
      const touched = await found(storage, key());
      assert.deepEqual(touched, { ...made, updatedAt: second.updatedAt, version: second.version });
    });

    harness.test('the owner is set, changed and removed', async ({ storage, key }) => {
      for (const owner of ['ann', 'bob', undefined, 'ann']) {
        await commit(storage, key(), [{ op: 'owner', owner }]);
        assert.equal((await found(storage, key())).owner, owner);
      }
      await commit(storage, key(), sets({ a: '1' }));
      assert.equal((await found(storage, key())).owner, 'ann');
    });

    harness.test('the answer tells version, times and log as a read does', async ({ storage, key, pass }) => {
      const first = await commit(storage, key(), [...sets({ a: '1' }), ...logs('0', '1')], { expiry: { set: 60 } });
      await pass(5);
      const second = await commit(storage, key(), logs('2'));
      const record = await found(storage, key());
      assert.equal(first.version, 1);
      assert.equal(second.version, 2);
      assert.equal(record.version, second.version);
      assert.equal(record.createdAt, first.updatedAt);
      assert.equal(record.updatedAt, second.updatedAt);
      assert.ok(second.updatedAt > first.updatedAt);
      assert.equal(second.expiresAt, first.expiresAt);
      assert.deepEqual([first.logTotal, second.logTotal, record.logTotal], [2, 3, 3]);
    });

    harness.test('an empty list creates and touches nothing', async ({ storage, key, pass }) => {
      await commit(storage, key(), []);
      assert.equal(await storage.read(key()), undefined);
      await commit(storage, key(), sets({ a: '1' }), { expiry: { set: 60 } });
      const before = await found(storage, key());
      await pass(5);
      const { version, updatedAt, expiresAt } = await commit(storage, key(), []);
      assert.deepEqual(await found(storage, key()), before);
      assert.deepEqual([version, updatedAt, expiresAt], [before.version, before.updatedAt, before.expiresAt]);
    });

    harness.test('a deleted record leaves nothing to the next one', async ({ storage, key, space }) => {
      const made: Change[] = [...sets({ a: '1' }), ...logs('0', '1'), { op: 'owner', owner: 'ann' }];
      await commit(storage, key(), made, { expiry: { set: 60 } });
      assert.equal(await storage.delete(key()), true);
      assert.equal(await storage.delete(key()), false);
      assert.equal(await storage.read(key()), undefined);
      assert.deepEqual(await idsOf(storage, { space }), []);
      await commit(storage, key(), sets({ b: '2' }), { expiry: { renew: 'none' } });
      const { fields, log, logTotal, owner, expiresAt } = await found(storage, key(), 9);
      assert.deepEqual([...fields], [['b', '2']]);
      assert.deepEqual([log, logTotal, owner, expiresAt], [[], 0, undefined, undefined]);
      assert.deepEqual(await idsOf(storage, { space, owner: 'ann' }), []);
    });
  });
}
