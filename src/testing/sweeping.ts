import assert from 'node:assert/strict';
import type { Harness } from './harness.js';
import { commit, fails, found, idsOf, logs, refusedLease, sets, take } from './steps.js';

/** What `sweep` removes, and what it leaves. */
export function testSweeping(harness: Harness): void {
  harness.group('sweeping', () => {
    harness.test('removes what was last written before, and nothing else', async ({ storage, key, space, pass }) => {
      for (const id of ['old-1', 'old-2', 'renewed']) {
        await commit(storage, key(id), [...sets({ a: '1' }), ...logs('0'), { op: 'owner', owner: 'ann' }]);
      }
      await pass(10);
      const { updatedAt } = await commit(storage, key('renewed'), sets({ a: '2' }));
      await commit(storage, key('fresh'), [{ op: 'owner', owner: 'ann' }]);
      assert.equal(await storage.sweep({ space, updatedBefore: updatedAt }), 2);
      assert.deepEqual(await idsOf(storage, { space }), ['fresh', 'renewed']);
      assert.deepEqual(await idsOf(storage, { space, owner: 'ann' }), ['fresh', 'renewed']);
      assert.equal(await storage.read(key('old-1')), undefined);
      assert.equal((await storage.readLog(key('old-2'))).total, 0);
      assert.equal(await storage.sweep({ space, updatedBefore: updatedAt }), 0);
      assert.deepEqual((await found(storage, key('renewed'), 9)).log, ['0']);
    });

    harness.test('the moment itself is not before', async ({ storage, key, space }) => {
      const { updatedAt } = await commit(storage, key(), sets({ a: '1' }));
      assert.equal(await storage.sweep({ space, updatedBefore: updatedAt }), 0);
      assert.equal(await storage.sweep({ space, updatedBefore: 0 }), 0);
      assert.equal(await storage.sweep({ space, updatedBefore: updatedAt + 1 }), 1);
    });

    harness.test('leaves a record whose lease is held', async ({ storage, key, space }) => {
      await commit(storage, key('free'), sets({ a: '1' }));
      const { updatedAt } = await commit(storage, key('held'), sets({ a: '1' }));
      await take(storage, key('held'), 'a');
      assert.equal(await storage.sweep({ space, updatedBefore: updatedAt + 1 }), 1);
      assert.deepEqual(await idsOf(storage, { space }), ['held']);
      await refusedLease(storage, key('held'), 'b');
      assert.equal(await storage.sweep({ space, updatedBefore: updatedAt + 1 }), 0);
      await commit(storage, key('held'), [], { lease: { token: 'a' } });
      // A place that somebody keeps is no lease.
      assert.equal(await storage.sweep({ space, updatedBefore: updatedAt + 1 }), 1);
    });

    harness.testOverTime('takes a record whose lease has ended by itself', async ({ storage, key, space, pass }) => {
      const { updatedAt } = await commit(storage, key(), sets({ a: '1' }));
      await take(storage, key(), 'a', 1_000);
      assert.equal(await storage.sweep({ space, updatedBefore: updatedAt + 1 }), 0);
      await pass(1_500);
      assert.equal(await storage.sweep({ space, updatedBefore: updatedAt + 1 }), 1);
    });

    harness.test('keeps to its space and its scope', async ({ storage, key, space }) => {
      const keys = [key('a'), key('b', 't'), key('c', 't', 'u'), key('d', 't2'), { ...key('e'), space: `${space}-2` }];
      let updatedBefore = 0;
      for (const one of keys) updatedBefore = (await commit(storage, one, sets({ a: '1' }))).updatedAt + 1;
      assert.equal(await storage.sweep({ space, scope: ['t'], updatedBefore }), 1);
      assert.deepEqual((await idsOf(storage, { space })).sort(), ['a', 'c', 'd']);
      assert.equal(await storage.sweep({ space, scope: [], updatedBefore }), 1);
      assert.equal(await storage.sweep({ space, scope: ['none'], updatedBefore }), 0);
      assert.equal(await storage.sweep({ space, updatedBefore }), 2);
      assert.deepEqual(await idsOf(storage, { space: `${space}-2` }), ['e']);
    });

    harness.test('takes many', async ({ storage, key, space }) => {
      const ids = Array.from({ length: 500 }, (_, index) => `r${index}`);
      const answers = await Promise.all(ids.map((id) => commit(storage, key(id), sets({ a: '1' }))));
      const updatedBefore = Math.max(...answers.map((answer) => answer.updatedAt)) + 1;
      assert.equal(await storage.sweep({ space, updatedBefore }), ids.length);
      assert.deepEqual(await idsOf(storage, { space }), []);
    });

    harness.test('a moment that is none removes nothing', async ({ storage, key, space }) => {
      await commit(storage, key(), sets({ a: '1' }));
      for (const moment of [Number.NaN, Number.POSITIVE_INFINITY, undefined, null, '9999999999999']) {
        await fails('INVALID_ARGUMENT', () => storage.sweep({ space, updatedBefore: moment as number }));
      }
      const updatedBefore = Number.MAX_SAFE_INTEGER;
      await fails('INVALID_ARGUMENT', () => storage.sweep({ space, scope: ['\ud800'], updatedBefore }));
      assert.deepEqual(await idsOf(storage, { space }), ['record']);
    });

    harness.testOverTime('does not count what had expired', async ({ storage, key, space, pass }) => {
      await commit(storage, key('expired'), sets({ a: '1' }), { expiry: { set: 2 } });
      const { updatedAt } = await commit(storage, key('old'), sets({ a: '1' }));
      await pass(2_300);
      assert.equal(await storage.sweep({ space, updatedBefore: updatedAt + 1 }), 1);
      assert.deepEqual(await idsOf(storage, { space }), []);
    });
  });
}
