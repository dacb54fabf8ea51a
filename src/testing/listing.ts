import assert from 'node:assert/strict';
import type { ListQuery, RecordInfo, StateStorage } from '../storage/state-storage.js';
import type { Harness } from './harness.js';
import { commit, fails, found, idsOf, sets } from './steps.js';

/** What `list` finds (P12). That it costs what it finds cannot be seen from here. */
export function testListing(harness: Harness): void {
  harness.group('listing', () => {
    harness.test('tells each record once, with its attributes, in the order of the ids', async (bench) => {
      const { storage, key, space, pass } = bench;
      for (const id of ['c', 'a', 'b-2', 'b-10', 'b']) {
        await commit(storage, key(id), [...sets({ a: '1' }), { op: 'owner', owner: `of-${id}` }], {
          expiry: { set: 60 },
        });
      }
      await pass(5);
      await commit(storage, key('a'), sets({ a: '2' }));
      const infos: RecordInfo[] = [];
      for await (const info of storage.list({ space })) infos.push(info);
      assert.deepEqual(
        infos.map((info) => info.key),
        ['a', 'b', 'b-10', 'b-2', 'c'].map((id) => key(id)),
      );
      for (const info of infos) {
        const { owner, createdAt, updatedAt, expiresAt } = await found(storage, info.key);
        assert.deepEqual({ ...info, key: undefined }, { key: undefined, owner, createdAt, updatedAt, expiresAt });
        assert.equal(owner, `of-${info.key.id}`);
      }
    });

    harness.test('at most so many, the first ones in their order', async ({ storage, key, space }) => {
      for (const id of ['d', 'a', 'c', 'b']) await commit(storage, key(id), sets({ a: '1' }));
      assert.deepEqual(await idsOf(storage, { space, scope: [], limit: 2 }), ['a', 'b']);
      assert.deepEqual(await idsOf(storage, { space, scope: [], limit: 9 }), ['a', 'b', 'c', 'd']);
      assert.deepEqual(await idsOf(storage, { space, scope: [], limit: 0 }), []);
      assert.deepEqual(await idsOf(storage, { space, scope: [], limit: 1, prefix: 'c' }), ['c']);
      await fails('INVALID_ARGUMENT', () => idsOf(storage, { space, limit: -1 }));
    });

    harness.test('after an id: the rest of its scope, in pages', async ({ storage, key, space, pass }) => {
      const ids = ['a', 'a b', 'A', 'b', 'b-10', 'b-2', 'ü', 'z/.:~'];
      for (const id of ids) await commit(storage, key(id, 's'), [...sets({ a: '1' }), { op: 'owner', owner: 'ann' }]);
      for (const id of ['a', 'c']) await commit(storage, key(id), sets({ a: '1' }));
      await commit(storage, key('b', 'other'), [...sets({ a: '1' }), { op: 'owner', owner: 'ann' }]);
      await pass(5);
      const soon = { updatedBefore: (await found(storage, key('b', 'other'))).updatedAt + 1 };
      const narrower: Partial<ListQuery>[] = [{}, { owner: 'ann' }, { prefix: 'b' }, soon, { ...soon, owner: 'ann' }];
      for (const narrow of narrower) {
        const query = { space, scope: ['s'], ...narrow };
        const all = await idsOf(storage, query);
        assert.equal(all.length, narrow.prefix === undefined ? ids.length : 3);
        for (const [index, after] of all.entries()) {
          assert.deepEqual(await idsOf(storage, { ...query, after }), all.slice(index + 1));
        }
        const paged: string[] = [];
        for (let page = await idsOf(storage, { ...query, limit: 3 }); page.length > 0; ) {
          paged.push(...page);
          page = await idsOf(storage, { ...query, limit: 3, after: page[page.length - 1] as string });
        }
        assert.deepEqual(paged, all);
      }
      const absent = { space, scope: ['s'], after: 'b-1' };
      assert.deepEqual((await idsOf(storage, absent)).slice(0, 2), ['b-10', 'b-2']);
      assert.deepEqual(await idsOf(storage, { ...absent, prefix: 'a' }), []);
      assert.deepEqual(await idsOf(storage, { space, scope: [], after: 'a' }), ['c']);
      await fails('INVALID_ARGUMENT', () => idsOf(storage, { space, after: 'a' }));
      await fails('INVALID_ARGUMENT', () => idsOf(storage, { space, scope: [], after: '' }));
    });

    harness.test('with contents: each record as a read has it, a copy', async ({ storage, key, space }) => {
      await commit(storage, key('a'), [...sets({ a: '1', b: '{"c":[]}' }), { op: 'owner', owner: 'ann' }], {
        expiry: { set: 60 },
      });
      await commit(storage, key('b'), [...sets({ a: '2' }), { op: 'log', entry: '0' }]);
      await commit(storage, key('c', 't'), sets({ a: '3' }));
      for (const query of [{ space, scope: [] }, { space, owner: 'ann' }, { space }]) {
        for await (const { key: name, record } of storage.list({ ...query, contents: true })) {
          const { reply: _, ...read } = await found(storage, name);
          const { reply, ...listed } = record ?? { fields: new Map() };
          assert.deepEqual(listed, read);
          assert.equal(reply, undefined);
          record?.fields.clear();
        }
      }
      assert.equal((await found(storage, key('a'))).fields.size, 2);
      for await (const info of storage.list({ space })) assert.equal(info.record, undefined);
    });

    harness.test('knows a space from another, and an empty one', async ({ storage, key, space }) => {
      await commit(storage, key('a'), sets({ a: '1' }));
      assert.deepEqual(await idsOf(storage, { space: `${space}-other` }), []);
      assert.deepEqual(await idsOf(storage, { space }), ['a']);
    });

    harness.test('by scope: that container only; without one: all of them', async ({ storage, key, space }) => {
      await commit(storage, key('a'), sets({ a: '1' }));
      await commit(storage, key('b', 't'), sets({ a: '1' }));
      await commit(storage, key('c', 't', 'u'), sets({ a: '1' }));
      await commit(storage, key('d', 't2'), sets({ a: '1' }));
      assert.deepEqual((await idsOf(storage, { space })).sort(), ['a', 'b', 'c', 'd']);
      assert.deepEqual(await idsOf(storage, { space, scope: [] }), ['a']);
      assert.deepEqual(await idsOf(storage, { space, scope: ['t'] }), ['b']);
      assert.deepEqual(await idsOf(storage, { space, scope: ['t', 'u'] }), ['c']);
      assert.deepEqual(await idsOf(storage, { space, scope: ['none'] }), []);
    });

    harness.test('by prefix: text, never a pattern', async ({ storage, key, space }) => {
      const ids = [
        'a',
        'ab',
        'abc',
        'aB',
        'a_c',
        'a%c',
        'a*',
        'a*b',
        'b',
        '*',
        '*b',
        '[ab]',
        '?',
        '\\',
        'é',
        'e\u0301',
      ];
      for (const id of ids) await commit(storage, key(id), sets({ a: '1' }));
      for (const prefix of ['', 'a', 'ab', 'a_', 'a%', 'a*', '*', '[ab]', '[', '?', '\\', 'e', 'é', 'A', 'z', 'abcd']) {
        const wanted = ids.filter((id) => id.startsWith(prefix)).sort();
        assert.deepEqual((await idsOf(storage, { space, prefix })).sort(), wanted, JSON.stringify(prefix));
      }
    });

    harness.test('by owner: as it is now', async ({ storage, key, space }) => {
      await commit(storage, key('a'), [{ op: 'owner', owner: 'ann' }]);
      await commit(storage, key('b'), [{ op: 'owner', owner: 'bob' }]);
      await commit(storage, key('c'), [{ op: 'owner', owner: 'ann' }]);
      await commit(storage, key('d'), sets({ owner: '"ann"' }));
      assert.deepEqual(await idsOf(storage, { space, owner: 'ann' }), ['a', 'c']);
      await commit(storage, key('a'), [{ op: 'owner', owner: 'bob' }]);
      await commit(storage, key('c'), [{ op: 'owner', owner: undefined }]);
      assert.deepEqual(await idsOf(storage, { space, owner: 'ann' }), []);
      assert.deepEqual(await idsOf(storage, { space, owner: 'bob' }), ['a', 'b']);
      await storage.delete(key('b'));
      assert.deepEqual(await idsOf(storage, { space, owner: 'bob' }), ['a']);
      for (const owner of ['*', 'b', 'bo', 'BOB', 'bob ', '%']) {
        assert.deepEqual(await idsOf(storage, { space, owner }), [], owner);
      }
    });

    harness.test('by owner and by scope at once', async ({ storage, key, space }) => {
      for (const [id, owner] of [
        ['a1', 'ann'],
        ['a2', 'ann'],
        ['b1', 'bob'],
      ] as const) {
        await commit(storage, key(id, 't'), [{ op: 'owner', owner }]);
        await commit(storage, key(id, 'u'), [{ op: 'owner', owner }]);
      }
      assert.equal((await idsOf(storage, { space, owner: 'ann' })).length, 4);
      assert.deepEqual(await idsOf(storage, { space, scope: ['t'], owner: 'ann' }), ['a1', 'a2']);
      assert.deepEqual(await idsOf(storage, { space, scope: ['u'], owner: 'ann', prefix: 'a2' }), ['a2']);
      assert.deepEqual(await idsOf(storage, { space, scope: ['v'], owner: 'ann' }), []);
    });

    harness.test('by the time of the last write', async ({ storage, key, space, pass }) => {
      await commit(storage, key('a'), [{ op: 'owner', owner: 'ann' }]);
      await pass(10);
      const { updatedAt } = await commit(storage, key('b'), [{ op: 'owner', owner: 'ann' }]);
      await pass(10);
      await commit(storage, key('c'), [{ op: 'owner', owner: 'bob' }]);
      assert.deepEqual(await idsOf(storage, { space, updatedBefore: updatedAt }), ['a']);
      assert.deepEqual(await idsOf(storage, { space, updatedBefore: updatedAt + 1 }), ['a', 'b']);
      assert.deepEqual(await idsOf(storage, { space, updatedBefore: updatedAt + 1, prefix: 'b' }), ['b']);
      assert.deepEqual(await idsOf(storage, { space, updatedBefore: 0 }), []);
      await commit(storage, key('a'), sets({ a: '2' }));
      assert.deepEqual(await idsOf(storage, { space, updatedBefore: updatedAt + 1 }), ['b']);
      assert.deepEqual(await idsOf(storage, { space, updatedBefore: updatedAt + 1, owner: 'ann' }), ['b']);
      assert.deepEqual(await idsOf(storage, { space, updatedBefore: updatedAt + 1, scope: [], owner: 'bob' }), []);
    });

    harness.test('of many records', async ({ storage, key, space }) => {
      const ids = Array.from({ length: 600 }, (_, index) => String(index).padStart(4, '0'));
      await Promise.all(ids.map((id) => commit(storage, key(id), [{ op: 'owner', owner: `o${Number(id) % 2}` }])));
      assert.deepEqual(await idsOf(storage, { space }), ids);
      assert.deepEqual(await idsOf(storage, { space, prefix: '03' }), ids.slice(300, 400));
      const odd = ids.filter((id) => Number(id) % 2 === 1);
      assert.deepEqual(await idsOf(storage, { space, owner: 'o1' }), odd);
    });

    harness.test('while the listed records are deleted', async ({ storage, key, space }) => {
      const ids = Array.from({ length: 300 }, (_, index) => String(index).padStart(4, '0'));
      await Promise.all(ids.map((id) => commit(storage, key(id), sets({ a: '1' }))));
      const seen: string[] = [];
      for await (const info of storage.list({ space })) {
        seen.push(info.key.id);
        assert.equal(await storage.delete(info.key), true);
      }
      assert.deepEqual(seen, ids);
      assert.deepEqual(await idsOf(storage, { space }), []);
    });

    harness.test('may be left early', async ({ storage, key, space }) => {
      for (const id of ['a', 'b', 'c']) await commit(storage, key(id), sets({ a: '1' }));
      for await (const info of storage.list({ space })) {
        assert.equal(info.key.id, 'a');
        break;
      }
      assert.deepEqual(await idsOf(storage, { space }), ['a', 'b', 'c']);
    });

    harness.test('a filter that cannot match anything is never taken for none', async ({ storage, key, space }) => {
      await commit(storage, key('a'), [{ op: 'owner', owner: 'ann' }]);
      await commit(storage, key('\ufffd', '\ufffd'), [{ op: 'owner', owner: '\ufffd' }]);
      for (const query of [
        { owner: '' },
        { owner: '\ud800' },
        { scope: ['\ud800'] },
        { scope: [''] },
        { prefix: '\ud800' },
      ]) {
        await fails('INVALID_ARGUMENT', () => idsOf(storage, { space, ...query }));
      }
      for (const updatedBefore of [Number.NaN, Number.POSITIVE_INFINITY, '2025' as unknown as number]) {
        await fails('INVALID_ARGUMENT', () => idsOf(storage, { space, updatedBefore }));
      }
    });

    harness.testAcross('of what another instance has changed since it was last listed', async (bench) => {
      const { storage, key, space, pass } = bench;
      const other = await bench.second();
      for (const id of ['a', 'b', 'c', 'd', 'e']) {
        await commit(storage, key(id), [...sets({ n: '1' }), { op: 'owner', owner: 'ann' }]);
      }
      const listed = async (of: StateStorage): Promise<RecordInfo[]> => {
        const infos: RecordInfo[] = [];
        for (const owner of ['ann', 'ben']) for await (const info of of.list({ space, owner })) infos.push(info);
        return infos;
      };
      assert.deepEqual(await listed(other), await listed(storage));
      // In the same moment as what it was before, perhaps.
      await commit(storage, key('b'), [{ op: 'owner', owner: 'ben' }]);
      await pass(5);
      await commit(storage, key('a'), sets({ n: '2' }));
      await commit(storage, key('c'), sets({ n: '2' }), { expiry: { set: 60 } });
      await storage.delete(key('d'));
      await storage.delete(key('e'));
      await commit(storage, key('e'), [...sets({ n: '1' }), { op: 'owner', owner: 'ann' }]);
      const infos = await listed(other);
      assert.deepEqual(infos, await listed(storage));
      assert.deepEqual(
        infos.map(({ key: { id }, owner }) => [id, owner]),
        [...['a', 'c', 'e'].map((id) => [id, 'ann']), ['b', 'ben']],
      );
      const before = infos[0]?.updatedAt;
      assert.ok(before !== undefined && before === (await found(storage, key('a'))).updatedAt);
      assert.equal(await other.sweep({ space, updatedBefore: before }), 1);
      assert.equal((await listed(other)).length, 3);
    });

    harness.testAcross('of what another instance has written', async ({ storage, key, space, second }) => {
      const other = await second();
      await commit(storage, key('a'), [{ op: 'owner', owner: 'ann' }]);
      assert.deepEqual(await idsOf(other, { space, owner: 'ann' }), ['a']);
      await commit(other, key('b'), [{ op: 'owner', owner: 'ann' }]);
      await commit(other, key('a'), [{ op: 'owner', owner: 'bob' }]);
      assert.deepEqual(await idsOf(storage, { space, owner: 'ann' }), ['b']);
      await other.delete(key('b'));
      assert.deepEqual(await idsOf(storage, { space }), ['a']);
    });
  });
}
