import assert from 'node:assert/strict';
import type { Change } from '../storage/state-storage.js';
import type { Harness } from './harness.js';
import { commit, fieldsOf, found, idsOf, logs, refused, sets, take } from './steps.js';

const OPERATIONS: readonly Change[] = [
  { op: 'set', field: 'a', value: '2' },
  { op: 'increment', field: 'n', by: 1 },
  { op: 'append', field: 'list', item: '1' },
  { op: 'log', entry: '1' },
  { op: 'remove', field: 'a' },
  { op: 'clearLog' },
  { op: 'clearFields' },
  { op: 'owner', owner: 'bob' },
  { op: 'touch' },
];

/** P10: time to live is per record, sliding where asked, and never lost by the way. */
export function testExpiry(harness: Harness): void {
  harness.group('time to live (P10)', () => {
    harness.test('a record made without an expiry never expires', async ({ storage, key }) => {
      const answer = await commit(storage, key(), sets({ a: '1' }));
      assert.equal(answer.expiresAt, undefined);
      assert.equal((await found(storage, key())).expiresAt, undefined);
    });

    harness.test('set and renew count from the commit', async ({ storage, key, space, pass }) => {
      for (const expiry of [{ set: 100 }, { renew: 200 }, { set: 50 }]) {
        const record = key(JSON.stringify(expiry));
        const made = await commit(storage, record, sets({ a: '1' }), { expiry });
        assert.equal(made.expiresAt, made.updatedAt + ('set' in expiry ? expiry.set : expiry.renew) * 1000);
        assert.equal((await found(storage, record)).expiresAt, made.expiresAt);
        for await (const info of storage.list({ space, prefix: record.id }))
          assert.equal(info.expiresAt, made.expiresAt);
      }
      await pass(5);
      const slid = await commit(storage, key('{"renew":200}'), sets({ a: '2' }), { expiry: { renew: 200 } });
      assert.equal(slid.expiresAt, slid.updatedAt + 200_000);
      assert.equal((await found(storage, key('{"renew":200}'))).expiresAt, slid.expiresAt);
    });

    for (const change of OPERATIONS) {
      harness.test(`${change.op} alone keeps the expiry as it is`, async ({ storage, key, pass }) => {
        const made = await commit(storage, key(), [...sets({ a: '1', n: '1' }), ...logs('0')], {
          expiry: { set: 100 },
        });
        await pass(5);
        const after = await commit(storage, key(), [change]);
        assert.equal(after.expiresAt, made.expiresAt);
        assert.equal((await found(storage, key())).expiresAt, made.expiresAt);
      });
    }

    harness.test('a ttl that was set is the record’s own, and wins over a renewal', async ({ storage, key }) => {
      await commit(storage, key(), sets({ a: '1' }), { expiry: { renew: 50 } });
      const own = await commit(storage, key(), [], { expiry: { set: 100 } });
      assert.equal(own.expiresAt, own.updatedAt + 100_000);
      for (const expiry of [{ renew: 50 }, { renew: 5_000 }, { renew: 'none' }] as const) {
        const answer = await commit(storage, key(), sets({ a: '2' }), { expiry });
        assert.equal(answer.expiresAt, answer.updatedAt + 100_000);
      }
      const shorter = await commit(storage, key(), [], { expiry: { set: 10 } });
      const again = await commit(storage, key(), sets({ a: '3' }), { expiry: { renew: 50 } });
      assert.equal(shorter.expiresAt, shorter.updatedAt + 10_000);
      assert.equal(again.expiresAt, again.updatedAt + 10_000);
    });

    harness.test('none means never, also for later renewals when it was set', async ({ storage, key }) => {
      await commit(storage, key(), sets({ a: '1' }), { expiry: { set: 100 } });
      assert.equal((await commit(storage, key(), [], { expiry: { set: 'none' } })).expiresAt, undefined);
      assert.equal((await commit(storage, key(), sets({ a: '2' }), { expiry: { renew: 50 } })).expiresAt, undefined);
      assert.equal((await found(storage, key())).expiresAt, undefined);
      await commit(storage, key('b'), sets({ a: '1' }), { expiry: { renew: 100 } });
      assert.equal((await commit(storage, key('b'), [], { expiry: { renew: 'none' } })).expiresAt, undefined);
    });

    harness.test('an expiry alone creates and marks as written', async ({ storage, key, pass }) => {
      const made = await commit(storage, key(), [], { expiry: { set: 100 } });
      assert.deepEqual([made.version, (await found(storage, key())).expiresAt], [1, made.updatedAt + 100_000]);
      await pass(5);
      const again = await commit(storage, key(), [], { expiry: { renew: 50 } });
      assert.ok(again.updatedAt > made.updatedAt);
      await refused(storage, key('b'), [], { expiry: { set: 100 }, condition: { exists: true } });
      assert.equal(await storage.read(key('b')), undefined);
    });

    harness.test('a deleted record leaves no ttl of its own', async ({ storage, key }) => {
      await commit(storage, key(), sets({ a: '1' }), { expiry: { set: 100 } });
      await storage.delete(key());
      const { expiresAt, updatedAt } = await commit(storage, key(), sets({ a: '1' }), { expiry: { renew: 50 } });
      assert.equal(expiresAt, updatedAt + 50_000);
    });

    harness.testOverTime('an expired record is absent everywhere', async ({ storage, key, space, pass }) => {
      const made: Change[] = [...sets({ a: '1' }), ...logs('0', '1'), { op: 'owner', owner: 'ann' }];
      const records = ['read', 'log', 'begin', 'delete', 'commit', 'condition', 'index'].map((id) => key(id));
      for (const record of records) await commit(storage, record, made, { expiry: { set: 2 } });
      await commit(storage, key('stays'), made);
      await pass(2_300);
      assert.equal(await storage.read(key('read'), { log: 9 }), undefined);
      assert.equal((await storage.readLog(key('log'))).total, 0);
      const begun = await storage.begin(key('begin'), { token: 'a', leaseMs: 60_000, log: 9 });
      assert.deepEqual(begun, { busy: false, record: undefined });
      assert.equal(await storage.delete(key('delete')), false);
      await refused(storage, key('condition'), sets({ a: '2' }), { condition: { exists: true } });
      await commit(storage, key('condition'), sets({ b: '2' }), { condition: { exists: false, version: 0 } });
      await commit(storage, key('commit'), sets({ b: '2' }), { expiry: { renew: 50 } });
      assert.deepEqual(await idsOf(storage, { space }), ['commit', 'condition', 'stays']);
      assert.deepEqual(await idsOf(storage, { space, owner: 'ann' }), ['stays']);

      const fresh = await found(storage, key('commit'), 9);
      assert.deepEqual(fieldsOf(fresh), [['b', '2']]);
      assert.deepEqual([fresh.log, fresh.logTotal, fresh.owner], [[], 0, undefined]);
      assert.equal(fresh.createdAt, fresh.updatedAt);
      assert.equal(fresh.expiresAt, fresh.updatedAt + 50_000, 'the ttl of its own has survived the record');
    });

    harness.testOverTime('what was added after the expiry was set expires with it', async ({ storage, key, pass }) => {
      await commit(storage, key(), sets({ a: '1' }), { expiry: { set: 2 } });
      await commit(storage, key(), [...logs('0'), ...sets({ b: '1' }), { op: 'append', field: 'l', item: '1' }]);
      await commit(storage, key(), [{ op: 'clearLog' }, ...logs('1'), { op: 'clearFields' }, ...sets({ c: '1' })]);
      await pass(2_300);
      assert.equal(await storage.read(key()), undefined);
      await commit(storage, key(), logs('2'));
      const record = await found(storage, key(), 9);
      assert.deepEqual([fieldsOf(record), record.log, record.logTotal], [[], ['2'], 1]);
    });

    harness.testOverTime(
      'what was renewed or set to none lives on, all of it',
      async ({ storage, key, space, pass }) => {
        const content = [...sets({ a: '1' }), ...logs('0')];
        for (const id of ['never', 'longer', 'renewed'])
          await commit(storage, key(id), content, { expiry: { renew: 2 } });
        await commit(storage, key('never'), [], { expiry: { set: 'none' } });
        await commit(storage, key('longer'), logs('1'), { expiry: { set: 100 } });
        await commit(storage, key('renewed'), sets({ b: '1' }), { expiry: { renew: 100 } });
        await pass(2_300);
        for (const id of ['never', 'longer', 'renewed']) {
          const record = await found(storage, key(id), 9);
          assert.equal(record.fields.get('a'), '1');
          assert.equal(record.log[0], '0');
        }
        assert.deepEqual(await idsOf(storage, { space }), ['longer', 'never', 'renewed']);
      },
    );

    harness.testOverTime('a lease outlives the expiry of its record', async ({ storage, key, pass }) => {
      await commit(storage, key(), sets({ a: '1' }), { expiry: { set: 2 } });
      await take(storage, key(), 'a');
      await pass(2_300);
      await commit(storage, key(), sets({ b: '1' }), { lease: { token: 'a' } });
      assert.deepEqual(fieldsOf(await found(storage, key())), [['b', '1']]);
    });
  });
}
