import { expect, it } from 'vitest';
import { z } from 'zod';
import { onEachBackend } from './backends.js';

const VALUES: readonly unknown[] = [
  true,
  false,
  42,
  -7,
  3.5,
  -0,
  'Ada',
  null,
  [1, 'a'],
  { k: 'v' },
  '1',
  '0',
  'null',
  'true',
  ' 7 ',
  '1.10',
  'NaN',
  '{"a":1}',
  '2025-01-01T00:00:00Z',
  '+51999',
  '',
  [],
  {},
  { '': { '.': 1, '=': 2, '#': 3, __proto__x: 4 } },
  Number.MAX_SAFE_INTEGER,
];

onEachBackend('a value', ({ caches }) => {
  it('reads back as it was: alone, as a field, nested, typed', async () => {
    const { tableCache } = caches();
    const typed = tableCache.table('typed', z.object({ v: z.unknown() }));
    for (const [i, value] of VALUES.entries()) {
      const key = `k${i}`;
      await tableCache.set('alone', key, value);
      expect(await tableCache.get('alone', key)).toStrictEqual(value);
      await tableCache.set('field', key, { v: value, deep: [{ v: value }] });
      expect(await tableCache.get('field', key)).toStrictEqual({ v: value, deep: [{ v: value }] });
      expect(await tableCache.getField('field', key, 'v')).toStrictEqual(value);
      await tableCache.setField('set', key, 'v', value);
      expect(await tableCache.getField('set', key, 'v')).toStrictEqual(value);
      await typed.set(key, { v: value });
      expect(await typed.get(key)).toStrictEqual({ v: value });
    }
    const names = { '.': 1, '=': 2, '#': 3, constructor: 4, 'a.b': 5, ' ': 6 };
    await tableCache.set('names', 'k', names);
    expect(await tableCache.get('names', 'k')).toStrictEqual(names);
    for (const [name, value] of Object.entries(names))
      expect(await tableCache.getField('names', 'k', name)).toBe(value);
  });

  it('that is no object has no fields', async () => {
    const { stateCache } = caches();
    for (const value of [42, 'text', [1], null]) {
      await stateCache.set('a', value);
      expect(await stateCache.getField('a', 'length')).toBeUndefined();
      for (const call of [
        () => stateCache.setField('a', 'f', 1),
        () => stateCache.patch('a', { f: 1 }),
        () => stateCache.incrementField('a', 'f'),
        () => stateCache.appendToList('a', 'f', 1),
      ]) {
        await expect(call()).rejects.toMatchObject({ code: 'WRONG_TYPE' });
      }
      expect(await stateCache.get('a')).toStrictEqual(value);
    }
  });

  it('is counted and appended to only where it is a number or a list', async () => {
    const { stateCache } = caches();
    expect(await stateCache.incrementField('c', 'n', 5)).toBe(5);
    expect(await stateCache.incrementField('c', 'n', -7)).toBe(-2);
    await stateCache.appendToList('c', 'list', { a: [1] });
    expect(await stateCache.get('c')).toEqual({ n: -2, list: [{ a: [1] }] });
    const row = { text: '5', part: 1.5, max: Number.MAX_SAFE_INTEGER, list: [1], n: 1 };
    await stateCache.set('c', row, { ttl: 500 });
    for (const [call, code] of [
      [() => stateCache.incrementField('c', 'text'), 'WRONG_TYPE'],
      [() => stateCache.incrementField('c', 'part'), 'WRONG_TYPE'],
      [() => stateCache.incrementField('c', 'list'), 'WRONG_TYPE'],
      [() => stateCache.incrementField('c', 'max'), 'INTEGER_OVERFLOW'],
      [() => stateCache.appendToList('c', 'text', 1), 'WRONG_TYPE'],
      [() => stateCache.appendToList('c', 'n', 1, { ttl: 5 }), 'WRONG_TYPE'],
    ] as const) {
      await expect(call()).rejects.toMatchObject({ code });
    }
    expect(await stateCache.get('c')).toEqual(row);
    expect(await stateCache.getTtl('c')).toBeGreaterThan(400);
    const error = await stateCache.incrementField('c', 'text').catch((reason) => reason);
    expect(error.details).toMatchObject({ field: 'text' });
  });

  it('is a private copy on both sides', async () => {
    const { stateCache } = caches();
    const given = { list: [1], deep: { a: 1 } };
    await stateCache.set('a', given);
    given.list.push(2);
    given.deep.a = 2;
    const got = (await stateCache.get('a')) as typeof given;
    expect(got).toEqual({ list: [1], deep: { a: 1 } });
    got.list.push(3);
    expect(await stateCache.get('a')).toEqual({ list: [1], deep: { a: 1 } });
  });

  it('is what it was when the call began, for what it is found by and for its schema, too', async () => {
    const table = caches().tableCache.table('t', undefined, { indexes: ['tags'] });
    const row: Record<string, unknown> = { tags: ['a'] };
    const list = ['b'];
    const item = { n: 1 };
    const writes = [
      table.set('set', row),
      table.patch('patched', row),
      table.setField('field', 'tags', list),
      table.appendToList('list', 'tags', item),
      table.createIfAbsent('created', row),
    ];
    row['tags'] = 'later';
    list.push('later');
    item.n = 2;
    expect((await Promise.all(writes)).at(-1)).toEqual({ status: 'created', row: { tags: ['a'] } });
    const found = async (held: unknown) => (await table.findByField('tags', held)).map(({ key }) => key).sort();
    expect([await found(['a']), await found(['b']), await found([{ n: 1 }])]).toEqual([
      ['created', 'patched', 'set'],
      ['field'],
      ['list'],
    ]);
    const small = caches().tableCache.table('small', z.object({ n: z.number().max(5) }));
    const large = { n: 99 };
    const refused = expect(small.patch('k', large)).rejects.toMatchObject({ code: 'SCHEMA_INVALID' });
    large.n = 1;
    await refused;
    expect(await small.exists('k')).toBe(false);
  });

  it('is nobody else’s, also of those who share a load, and in the answer of a change', async () => {
    const { stateCache, tableCache } = caches();
    const source = { list: [1] };
    const [one, other] = await Promise.all([0, 1].map(() => stateCache.at('a').getOrLoad(() => source)));
    one?.list.push(2);
    expect([source, other]).toEqual([{ list: [1] }, { list: [1] }]);
    const updated = await stateCache.update('b', () => source);
    updated.list.push(2);
    const { row } = await tableCache.createIfAbsent('t', 'k', source);
    (row as typeof source).list.push(2);
    expect(source).toEqual({ list: [1] });
  });

  it('that is loaded for several fits the schema of each', async () => {
    const tenantId = `tenant ${Math.random()}`;
    const dated = caches({ tenantId }).tableCache.table('t', z.object({ at: z.string().transform((at) => at.length) }));
    const load = async () => ({ at: 'noon' });
    const plain = caches({ tenantId }).tableCache.at('t', 'k');
    expect(await Promise.all([dated.getOrLoad('k', load), plain.getOrLoad(load)])).toEqual([{ at: 4 }, { at: 'noon' }]);
  });

  it('that JSON cannot hold is refused with its path, and nothing is stored', async () => {
    const { stateCache } = caches();
    class Money {}
    for (const bad of [
      new Date(),
      new Map(),
      new Set(),
      1n,
      undefined,
      () => 1,
      Number.NaN,
      new Money(),
      Buffer.from('a'),
    ]) {
      const error = await stateCache.set('a', { deep: [{ bad }] }).catch((reason) => reason);
      expect(error).toMatchObject({ code: 'VALUE_NOT_JSON', details: { path: '$.deep[0].bad' } });
      await expect(stateCache.setField('a', 'f', bad)).rejects.toMatchObject({ code: 'VALUE_NOT_JSON' });
      await expect(stateCache.appendToList('a', 'f', bad)).rejects.toMatchObject({ code: 'VALUE_NOT_JSON' });
    }
    expect(await stateCache.exists('a')).toBe(false);
  });
});

onEachBackend('a time to live', ({ caches, pass }) => {
  it('is that of the entry, and ends it everywhere', async () => {
    const { tableCache, stateCache } = caches();
    await tableCache.set('t', 'stays', { n: 1 });
    await tableCache.set('t', 'goes', { n: 1 }, { ttl: 1 });
    await stateCache.set('flow', { n: 1 }, { ttl: 1 });
    await tableCache.createIfAbsent('t', 'made', { n: 1 }, { ttl: 1 });
    await pass(1_200);
    expect([await tableCache.get('t', 'goes'), await tableCache.get('t', 'stays')]).toEqual([undefined, { n: 1 }]);
    expect(await tableCache.exists('t', 'goes')).toBe(false);
    expect(await tableCache.getTtl('t', 'goes')).toBeUndefined();
    expect(await tableCache.getAll('t')).toEqual([{ key: 'stays', row: { n: 1 } }]);
    const keys: string[] = [];
    for await (const key of tableCache.keys('t')) keys.push(key);
    for await (const name of stateCache.names()) keys.push(name);
    for await (const user of stateCache.usersIn('flow')) keys.push(user);
    expect(keys).toEqual(['stays']);
    expect((await tableCache.replaceIf('t', 'made', { n: 2 }, { n: 1 })).status).toBe('missing');
    expect((await tableCache.createIfAbsent('t', 'made', { n: 3 })).status).toBe('created');
    await tableCache.set('t', 'goes', { n: 2 });
    expect(await tableCache.get('t', 'stays')).toEqual({ n: 1 });
    expect(await tableCache.incrementField('t', 'fresh', 'n')).toBe(1);
  });

  it('is none unless given, and really none', async () => {
    const { stateCache } = caches();
    await stateCache.set('a', { n: 1 }, { ttl: 60 });
    expect(await stateCache.getTtl('a')).toBeGreaterThan(50);
    await stateCache.set('a', { n: 1 });
    expect(await stateCache.getTtl('a')).toBeNull();
    await stateCache.set('a', { n: 1 }, { ttl: 60 });
    await stateCache.set('a', { n: 2 }, { ttl: 'keep' });
    expect(await stateCache.getTtl('a')).toBeLessThanOrEqual(60);
    expect(await stateCache.setTtl('a', 'none')).toBe(true);
    expect(await stateCache.getTtl('a')).toBeNull();
    expect(await stateCache.setTtl('a', 30)).toBe(true);
    expect(await stateCache.getTtl('a')).toBeLessThanOrEqual(30);
    expect(await stateCache.setTtl('missing', 30)).toBe(false);
    expect(await stateCache.getTtl('missing')).toBeUndefined();
    await expect(stateCache.setTtl('a')).rejects.toMatchObject({ code: 'TTL_INVALID' });
  });

  it('is refused when it is none, before anything is written', async () => {
    const { stateCache } = caches();
    await stateCache.set('a', { n: 1 }, { ttl: 60 });
    for (const ttl of [0, -5, 1.5, Number.NaN, '60' as never, null as never]) {
      for (const call of [
        () => stateCache.set('a', { n: 2 }, { ttl }),
        () => stateCache.set('b', { n: 2 }, { ttl }),
        () => stateCache.patch('a', { n: 2 }, { ttl }),
        () => stateCache.setField('a', 'n', 2, { ttl }),
        () => stateCache.incrementField('a', 'n', 1, { ttl }),
        () => stateCache.appendToList('a', 'l', 1, { ttl }),
        () => stateCache.update('a', () => ({ n: 2 }), { ttl }),
        () => stateCache.setTtl('a', ttl),
      ]) {
        await expect(call()).rejects.toMatchObject({ code: 'TTL_INVALID' });
      }
    }
    expect(await stateCache.get('a')).toEqual({ n: 1 });
    expect(await stateCache.getTtl('a')).toBeGreaterThan(50);
    expect(await stateCache.exists('b')).toBe(false);
  });

  it('is kept by what changes a field, unless it is told another', async () => {
    const { stateCache } = caches();
    for (const ttl of [30, 7 * 86_400]) {
      for (const call of [
        (options?: { ttl: number | 'none' }) => stateCache.setField('a', 'f', 1, options),
        (options?: { ttl: number | 'none' }) => stateCache.patch('a', { f: 1 }, options),
        (options?: { ttl: number | 'none' }) => stateCache.incrementField('a', 'n', 1, options),
        (options?: { ttl: number | 'none' }) => stateCache.appendToList('a', 'l', 1, options),
        (options?: { ttl: number | 'none' }) => stateCache.update('a', () => ({ n: 1 }), options),
      ]) {
        await stateCache.set('a', { n: 1 }, { ttl });
        await call();
        expect(await stateCache.getTtl('a')).toBeGreaterThan(ttl - 5);
        expect(await stateCache.getTtl('a')).toBeLessThanOrEqual(ttl);
        await call({ ttl: 60 });
        expect(await stateCache.getTtl('a')).toBeGreaterThan(55);
        expect(await stateCache.getTtl('a')).toBeLessThanOrEqual(60);
        await call({ ttl: 'none' });
        expect(await stateCache.getTtl('a')).toBeNull();
      }
    }
  });

  it('has the default of its table', async () => {
    const table = caches().tableCache.table('t', undefined, { ttl: 60 });
    await table.set('a', { n: 1 });
    expect(await table.getTtl('a')).toBeLessThanOrEqual(60);
    await table.set('a', { n: 1 }, { ttl: 'none' });
    expect(await table.getTtl('a')).toBeNull();
    expect(await table.setTtl('a')).toBe(true);
    expect(await table.getTtl('a')).toBeLessThanOrEqual(60);
    await table.createIfAbsent('b', { n: 1 });
    expect(await table.getTtl('b')).toBeLessThanOrEqual(60);
    const typed = caches().tableCache.table('t', z.object({ n: z.number() }), { ttl: 60 });
    await typed.setField('a', 'n', 1);
    expect(await typed.getTtl('a')).toBeLessThanOrEqual(60);
    expect(() => caches().tableCache.table('t', undefined, { ttl: 0 })).toThrow(
      expect.objectContaining({ code: 'TTL_INVALID' }),
    );
  });
});
