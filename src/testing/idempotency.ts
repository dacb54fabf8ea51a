import assert from 'node:assert/strict';
import type { RecordKey } from '../storage/keys.js';
import type { StateStorage } from '../storage/state-storage.js';
import type { Harness } from './harness.js';
import { commit, fails, found, logs, sets, take } from './steps.js';

const work = (key: string, reply = '"done"', keep = 9) => ({ idempotency: { key, reply, keep } });

/** Work that is asked for twice is done once. */
export function testIdempotency(harness: Harness): void {
  harness.group('a commit with an idempotency key', () => {
    harness.test('leaves a reply that begin and read return', async ({ storage, key }) => {
      await commit(storage, key(), sets({ a: '1' }), work('m-1', '{"b":[]}'));
      const [asked, other, unasked] = await Promise.all([
        storage.read(key(), { idempotencyKey: 'm-1' }),
        storage.read(key(), { idempotencyKey: 'm-2' }),
        storage.read(key()),
      ]);
      assert.deepEqual([asked?.reply, other?.reply, unasked?.reply], ['{"b":[]}', undefined, undefined]);
      const begun = await storage.begin(key(), { token: 'a', leaseMs: 60_000, idempotencyKey: 'm-1' });
      assert.equal(!begun.busy && begun.record?.reply, '{"b":[]}');
      assert.deepEqual(asked?.fields, new Map([['a', '1']]), 'it is no field');
    });

    harness.test('is refused when the key is known: nothing changes, the reply is there', async ({ storage, key }) => {
      await commit(storage, key(), sets({ a: '1' }), work('m-1'));
      await take(storage, key(), 'a');
      const before = await found(storage, key(), 9);
      const options = { ...work('m-1', '"other"'), lease: { token: 'a' }, expiry: { set: 60 } };
      const answer = await storage.commit(key(), [...sets({ a: '2' }), ...logs('0')], options);
      assert.equal(answer.committed, false);
      assert.equal(!answer.committed && answer.record?.reply, '"done"');
      assert.equal(!answer.committed && answer.record?.fields.get('a'), '1');
      assert.deepEqual(await found(storage, key(), 9), before);
      await commit(storage, key(), [], { lease: { token: 'a' } });
    });

    harness.test('alone makes the record, and raises its version', async ({ storage, key }) => {
      await commit(storage, key(), [], work('m-1'));
      const { version, fields } = await found(storage, key());
      assert.deepEqual([version, fields.size], [1, 0]);
      await commit(storage, key(), [], { ...work('m-2'), maxFields: 0 });
      assert.equal((await found(storage, key())).version, 2);
    });

    harness.test('keeps the newest so many', async ({ storage, key }) => {
      const known = async (): Promise<string> => {
        const names = ['1', '2', '3', '4', '5', '6'];
        const records = await Promise.all(names.map((name) => storage.read(key(), { idempotencyKey: name })));
        return names.filter((_, i) => records[i]?.reply !== undefined).join('');
      };
      for (const name of ['1', '2', '3']) await commit(storage, key(), [], work(name, '0', 2));
      assert.equal(await known(), '23');
      for (const name of ['4', '5']) await commit(storage, key(), [], work(name, '0', 4));
      assert.equal(await known(), '2345');
      await commit(storage, key(), [], work('6', '0', 1));
      assert.equal(await known(), '6');
      await commit(storage, key(), [], work('1', '0', 2));
      assert.equal(await known(), '16', 'one that was forgotten counts anew');
    });

    harness.test('is remembered when fields and log are cleared, forgotten with the record', async (bench) => {
      const { storage, key } = bench;
      await commit(storage, key(), sets({ a: '1' }), work('m-1'));
      await commit(storage, key(), [{ op: 'clearFields' }, { op: 'clearLog' }]);
      assert.equal((await storage.read(key(), { idempotencyKey: 'm-1' }))?.reply, '"done"');
      await storage.delete(key());
      await commit(storage, key(), sets({ a: '1' }));
      assert.equal((await storage.read(key(), { idempotencyKey: 'm-1' }))?.reply, undefined);
      await commit(storage, key(), [], work('m-1', '"again"'));
    });

    harness.testOverTime('lives as long as its record', async ({ storage, key, pass }) => {
      await commit(storage, key(), [], { ...work('m-1'), expiry: { set: 1 } });
      await commit(storage, key('kept'), [], { ...work('m-1'), expiry: { set: 1 } });
      await commit(storage, key('kept'), [], { expiry: { set: 'none' } });
      await commit(storage, key('longer'), [], { ...work('m-1'), expiry: { set: 1 } });
      await commit(storage, key('longer'), [], { expiry: { set: 60 } });
      await pass(1_100);
      assert.equal(await storage.read(key(), { idempotencyKey: 'm-1' }), undefined);
      await commit(storage, key(), [], work('m-1', '"again"'));
      for (const id of ['kept', 'longer']) {
        assert.equal((await storage.read(key(id), { idempotencyKey: 'm-1' }))?.reply, '"done"', id);
      }
    });

    harness.test('sent again with its commit id is answered as before', async ({ storage, key }) => {
      const options = { ...work('m-1'), commitId: 'c-1' };
      const first = await commit(storage, key(), sets({ a: '1' }), options);
      assert.deepEqual(await commit(storage, key(), sets({ a: '1' }), options), first);
    });

    harness.test('has effect once, however many try at the same time', async ({ storage, key, second }) => {
      const other = harness.backend.reopen ? await second() : storage;
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, i) => attempt(i % 2 ? storage : other, key(), String(i))),
      );
      const winner = answers.indexOf(undefined);
      assert.equal(answers.filter((answer) => answer === undefined).length, 1);
      for (const [i, answer] of answers.entries()) {
        if (i !== winner) assert.equal(answer, String(winner));
      }
      assert.equal((await found(storage, key())).fields.get('n'), '1');
    });

    harness.testAcross('is known to another instance', async ({ storage, key, fresh }) => {
      for (let i = 0; i < 40; i++)
        await commit(storage, key(), logs(`"${'x'.repeat(1000)}"`), work(`m-${i}`, `${i}`, 30));
      const other = await fresh();
      const reply = async (name: string) => (await other.read(key(), { idempotencyKey: name }))?.reply;
      assert.deepEqual([await reply('m-9'), await reply('m-10'), await reply('m-39')], [undefined, '10', '39']);
      await other.close();
    });

    harness.test('tells keys apart, whatever they hold', async ({ storage, key }) => {
      const names = [
        '',
        '#1',
        '=1',
        '1',
        'a',
        'A',
        'a ',
        'é',
        'e\u0301',
        '__proto__',
        '\0',
        '\n',
        '😀',
        'x'.repeat(300),
      ];
      const [, ...keys] = names;
      for (const name of keys) await commit(storage, key(), [], work(name, JSON.stringify(name), 99));
      for (const name of keys) {
        assert.equal((await storage.read(key(), { idempotencyKey: name }))?.reply, JSON.stringify(name));
      }
      await commit(storage, key('other'), [], work('a'));
    });

    harness.test('refuses what cannot be kept, before anything is written', async ({ storage, key }) => {
      for (const bad of [
        { key: '' },
        { key: '\ud800' },
        { key: 5 as never },
        { reply: '' },
        { keep: 0 },
        { keep: 1.5 },
      ]) {
        const idempotency = { key: 'm-1', reply: '0', keep: 9, ...bad };
        await fails('INVALID_ARGUMENT', () => storage.commit(key(), sets({ a: '1' }), { idempotency }));
      }
      await fails('INVALID_ARGUMENT', () => storage.read(key(), { idempotencyKey: '' }));
      await fails('INVALID_ARGUMENT', () => storage.begin(key(), { token: 'a', leaseMs: 1, idempotencyKey: '' }));
      assert.equal(await storage.read(key()), undefined);
    });
  });
}

/** One who does the work; the reply of who was first, where that was somebody else. */
async function attempt(storage: StateStorage, key: RecordKey, reply: string): Promise<string | undefined> {
  const answer = await storage.commit(key, [{ op: 'increment', field: 'n', by: 1 }], work('m-1', reply));
  return answer.committed ? undefined : answer.record?.reply;
}
