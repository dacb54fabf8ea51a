import { expect, it } from 'vitest';
import { z } from 'zod';
import { onEachBackend } from './backends.js';

const CODE = (code: string) => expect.objectContaining({ code });
const Player = z.object({ name: z.string().optional(), score: z.coerce.number().int() });

onEachBackend('a cache', ({ caches, pass, backend, storage }) => {
  it('has what was set, replaces and removes it', async () => {
    const { tableCache, stateCache, userCache } = caches();
    for (const [get, set, exists, remove] of [
      [
        () => tableCache.get('t', 'k'),
        (row: object) => tableCache.set('t', 'k', row),
        () => tableCache.exists('t', 'k'),
        () => tableCache.delete('t', 'k'),
      ],
      [
        () => stateCache.get('k'),
        (row: object) => stateCache.set('k', row),
        () => stateCache.exists('k'),
        () => stateCache.delete('k'),
      ],
      [
        () => userCache.get(),
        (row: object) => userCache.set(row as Record<string, unknown>),
        () => userCache.exists(),
        () => userCache.delete(),
      ],
      [
        () => userCache.get('stats'),
        (row: object) => userCache.set('stats', row),
        () => userCache.exists('stats'),
        () => userCache.delete('stats'),
      ],
    ] as const) {
      expect(await get()).toBeUndefined();
      expect(await exists()).toBe(false);
      await set({ a: 1, b: 2 });
      expect(await get()).toEqual({ a: 1, b: 2 });
      expect(await exists()).toBe(true);
      await set({ b: 3 });
      expect(await get()).toEqual({ b: 3 });
      expect([await remove(), await remove(), await exists()]).toEqual([true, false, false]);
    }
  });

  it('merges a patch', async () => {
    const { stateCache } = caches();
    await stateCache.patch('flow', { step: 'size' });
    await stateCache.set('flow', { step: 'size', size: 'L' });
    await stateCache.patch('flow', { step: 'toppings', list: [1] });
    expect(await stateCache.get('flow')).toEqual({ step: 'toppings', size: 'L', list: [1] });
  });

  it('names what is empty or no text', async () => {
    expect(() => caches({ tenantId: '' })).toThrow(CODE('INVALID_ARGUMENT'));
    expect(() => caches({ userId: '' })).toThrow(CODE('INVALID_ARGUMENT'));
    const { stateCache, tableCache, userCache } = caches();
    const bad: [string, () => Promise<unknown>][] = [
      ['name', () => stateCache.get('')],
      ['table', () => tableCache.get('', 'k')],
      ['key', () => tableCache.get('t', '')],
      ['name', () => userCache.get('')],
      ['field', () => stateCache.getField('a', '')],
      ['field', () => stateCache.setField('a', '', 1)],
      ['key', () => tableCache.set('t', 5 as never, {})],
      ['by', () => stateCache.incrementField('a', 'n', 0.5)],
      ['fields', () => stateCache.patch('a', [] as never)],
      ['profile', () => userCache.set('text' as never)],
    ];
    await expect(stateCache.setTtl('a', 'keep' as never)).rejects.toThrow(CODE('TTL_INVALID'));
    for (const [argument, call] of bad) {
      await expect(call(), argument).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', details: { argument } });
    }
    expect(() => caches({ userId: undefined }).stateCache).toThrow(CODE('INVALID_ARGUMENT'));
    expect(await caches({ userId: undefined }).tableCache.get('t', 'k')).toBeUndefined();
  });

  it('validates by a schema what is written and what is read', async () => {
    const { tableCache } = caches();
    const players = tableCache.table('players', Player, { ttl: 60 });
    await players.set('a', { score: '7' });
    expect(await players.get('a')).toEqual({ score: 7 });
    await expect(players.set('b', { score: 'not-int' })).rejects.toMatchObject({ code: 'SCHEMA_INVALID' });
    expect(await players.exists('b')).toBe(false);
    expect(await tableCache.get('players', 'a')).toEqual({ score: 7 });
    await expect(tableCache.setField('players', 'a', 'score', 'x')).rejects.toMatchObject({ code: 'SCHEMA_INVALID' });
    await expect(players.patch('a', { score: 'x' })).rejects.toMatchObject({ code: 'SCHEMA_INVALID' });
    await expect(players.appendToList('a', 'score', 1)).rejects.toMatchObject({ code: 'WRONG_TYPE' });
    expect(await players.get('a')).toEqual({ score: 7 });
    await players.setField('a', 'score', 2);
    await players.setField('a', 'name', 'Ada');
    expect(await players.get('a')).toEqual({ score: 2, name: 'Ada' });
    expect(await players.incrementField('a', 'score', 3)).toBe(5);
    await expect(players.update('a', () => ({ score: 1.5 }) as never)).rejects.toMatchObject({
      code: 'SCHEMA_INVALID',
    });
    await expect(players.setField('new', 'name', 'x')).rejects.toMatchObject({ code: 'SCHEMA_INVALID' });
    expect(await players.exists('new')).toBe(false);
    // A schema of the call, where the cache has none.
    const { stateCache } = caches();
    await stateCache.set('s', { score: '7' }, { schema: Player });
    expect(await stateCache.get('s', { schema: Player })).toEqual({ score: 7 });
    expect(await stateCache.get('s')).toEqual({ score: '7' });
    const error = await stateCache.get('s', { schema: z.string() }).catch((reason) => reason);
    expect(error).toMatchObject({ code: 'SCHEMA_INVALID', details: { issues: [expect.anything()] } });
    expect(String(error.message)).toContain(':state:s:ann');
    expect(await stateCache.getField('s', 'score', { schema: z.coerce.number() })).toBe(7);
  });

  it('keeps the input of a schema, so that transforms and dates work', async () => {
    const { tableCache } = caches();
    const Event = z.object({ at: z.coerce.date(), tags: z.array(z.string()).transform((tags) => new Set(tags)) });
    const events = tableCache.table('events', Event);
    await events.set('a', { at: '2026-01-02T03:04:05.000Z', tags: ['x', 'y'] });
    expect(await events.get('a')).toEqual({ at: new Date('2026-01-02T03:04:05Z'), tags: new Set(['x', 'y']) });
    await expect(events.set('b', { at: new Date(), tags: [] })).rejects.toMatchObject({ code: 'VALUE_NOT_JSON' });
    expect(await events.exists('b')).toBe(false);
  });

  it('an update works on what is stored, the input of the schema, and answers with its output', async () => {
    const Visit = z.object({
      at: z.iso.datetime().transform((text) => new Date(text)),
      n: z.number().default(0),
      tags: z.array(z.string()).transform((tags) => new Set(tags)),
    });
    const { tableCache } = caches();
    const visits = tableCache.table('visits', Visit, { indexes: ['n'] });
    const first = { at: '2026-01-02T03:04:05.000Z', tags: ['x'] };
    await visits.set('a', first);
    const seen: unknown[] = [];
    // Typed by the schema: `row` as it is stored, `visit` as it is read.
    const visit = await visits.update('a', (row) => {
      seen.push(row);
      return { ...(row ?? first), n: (row?.n ?? 0) + 1 };
    });
    expect(seen).toEqual([first]);
    const [at, n] = [visit.at.getTime(), visit.n.toFixed()];
    expect([at, n, visit.tags.has('x')]).toEqual([Date.parse(first.at), '1', true]);
    expect(visit).toEqual(await visits.get('a'));
    expect(await visits.findByField('n', 1)).toHaveLength(1);
    const made = await visits.update('b', (row) => row ?? first);
    expect(made).toEqual({ at: new Date(first.at), n: 0, tags: new Set(['x']) });
    // By a handle the caller says what it is.
    await visits.at('a').update<z.input<typeof Visit>>((row) => ({ ...(row ?? first), tags: ['y'] }));
    expect((await visits.get('a'))?.tags).toEqual(new Set(['y']));
    // What comes out does not go in, and nothing is written.
    // @ts-expect-error what is stored of a moment is its text
    await expect(visits.update('a', () => ({ ...first, at: new Date() }))).rejects.toThrow(CODE('VALUE_NOT_JSON'));
    await expect(visits.update('a', () => ({ ...first, at: 'now' }))).rejects.toThrow(CODE('SCHEMA_INVALID'));
    expect((await visits.get('a'))?.n).toBe(1);
    // One that does not fit is not handed to the change.
    await tableCache.set('other', 'k', { n: 'x' });
    const change = () => expect.unreachable();
    await expect(tableCache.table('other', Visit).update('k', change)).rejects.toThrow(CODE('SCHEMA_INVALID'));
  });

  it('gives all rows; one that does not fit throws, is skipped or collected, as asked', async () => {
    const { tableCache } = caches();
    for (let i = 0; i < 5; i++) await tableCache.set('players', `p${i}`, { score: i });
    await tableCache.set('players', 'bad', { score: 'x' });
    const players = tableCache.table('players', Player);
    await expect(players.getAll()).rejects.toMatchObject({ code: 'SCHEMA_INVALID' });
    const good = [0, 1, 2, 3, 4].map((score) => ({ key: `p${score}`, row: { score } }));
    expect(await players.getAll({ invalid: 'skip' })).toEqual(good);
    const bad: string[] = [];
    expect(await players.getAll({ invalid: 'collect', onInvalid: (key) => bad.push(key) })).toEqual(good);
    expect(bad).toEqual(['bad']);
    expect(await players.getAll({ prefix: 'p1' })).toEqual([{ key: 'p1', row: { score: 1 } }]);
    expect(await tableCache.getAll('nothing')).toEqual([]);
  });

  it('refuses a set whose version is not the present one', async () => {
    const { stateCache } = caches();
    expect(await stateCache.getEntry('a')).toBeUndefined();
    const first = await stateCache.set('a', { n: 1 }, { version: null });
    await expect(stateCache.set('a', { n: 2 }, { version: null })).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await stateCache.getEntry('a')).toEqual({ value: { n: 1 }, version: first, ttl: null });
    const second = await stateCache.set('a', { n: 2 }, { version: first });
    expect(second).not.toBe(first);
    await expect(stateCache.set('a', { n: 3 }, { version: first })).rejects.toMatchObject({ code: 'CONFLICT' });
    await stateCache.incrementField('a', 'n');
    await expect(stateCache.set('a', { n: 3 }, { version: second })).rejects.toMatchObject({ code: 'CONFLICT' });
    // Deleted and made again is another one, also where everything looks the same.
    await stateCache.delete('a');
    await expect(stateCache.set('a', { n: 1 }, { version: first })).rejects.toMatchObject({ code: 'CONFLICT' });
    await stateCache.set('a', { n: 1 });
    await expect(stateCache.set('a', { n: 9 }, { version: first })).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await stateCache.get('a')).toEqual({ n: 1 });
  });

  it('updates by compare and set: 50 at once all count', async () => {
    const { userCache } = caches();
    await Promise.all(
      Array.from({ length: 20 }, () => userCache.update<{ n: number }>((value) => ({ n: (value?.n ?? 0) + 1 }))),
    );
    expect(await userCache.get()).toEqual({ n: 20 });
    await expect(
      userCache.update(() => {
        throw new Error('mine');
      }),
    ).rejects.toThrow('mine');
  });

  it('counts, appends and sets fields of one entry 50 times at once', async () => {
    const { tableCache } = caches();
    const each = Array.from({ length: 50 }, (_, i) => i);
    await Promise.all([
      ...each.map(() => tableCache.incrementField('t', 'k', 'n')),
      ...each.map((i) => tableCache.appendToList('t', 'k', 'list', { i })),
      ...each.map((i) => tableCache.setField('t', 'k', `f${i}`, i)),
    ]);
    const row = (await tableCache.get('t', 'k')) as Record<string, unknown>;
    expect(row['n']).toBe(50);
    expect((row['list'] as { i: number }[]).map(({ i }) => i).sort((a, b) => a - b)).toEqual(each);
    for (const i of each) expect(row[`f${i}`]).toBe(i);
  });

  it('loads what is missing once, for all who ask at the same time', async () => {
    const { stateCache } = caches();
    let loads = 0;
    const load = async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return { loads: ++loads };
    };
    const got = await Promise.all(Array.from({ length: 5 }, () => stateCache.at('slow').getOrLoad(load, { ttl: 60 })));
    expect(got).toEqual(Array.from({ length: 5 }, () => ({ loads: 1 })));
    expect(await stateCache.at('slow').getOrLoad(load)).toEqual({ loads: 1 });
    expect(await stateCache.getTtl('slow')).toBeGreaterThan(0);
    await expect(
      stateCache.at('fails').getOrLoad(() => {
        throw new Error('down');
      }),
    ).rejects.toThrow('down');
    expect(await stateCache.exists('fails')).toBe(false);
  });

  it('finds rows by a declared index, as it is now', async () => {
    const { tableCache } = caches();
    const pizzas = tableCache.table('pizzas', undefined, { indexes: ['size', 'price'] });
    await pizzas.set('a', { size: 'L', price: 10 });
    await pizzas.set('b', { size: 'L', price: '10' });
    await pizzas.set('c', { size: 'S' });
    const found = async (field: string, value: unknown) =>
      (await pizzas.findByField(field, value)).map(({ key }) => key).sort();
    expect(await found('size', 'L')).toEqual(['a', 'b']);
    expect(await found('price', 10)).toEqual(['a']);
    expect(await found('price', '10')).toEqual(['b']);
    expect(await found('price', null)).toEqual([]);
    await pizzas.setField('a', 'size', 'S');
    await pizzas.patch('c', { size: 'M' });
    await pizzas.incrementField('a', 'price');
    expect([await found('size', 'L'), await found('size', 'S'), await found('size', 'M')]).toEqual([
      ['b'],
      ['a'],
      ['c'],
    ]);
    expect([await found('price', 10), await found('price', 11)]).toEqual([[], ['a']]);
    await pizzas.set('a', { size: 'L' });
    await pizzas.delete('b');
    expect([await found('size', 'L'), await found('price', 11)]).toEqual([['a'], []]);
    await expect(pizzas.findByField('name', 1)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(tableCache.findByField('other', 'size', 'L')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await tableCache.deleteTable('pizzas')).toBe(2);
    expect(await found('size', 'L')).toEqual([]);
  });

  it('keeps the index right under writers that meet, and no longer than the row', async () => {
    const { tableCache } = caches();
    const rows = tableCache.table('rows', undefined, { indexes: ['who'], ttl: 1 });
    const names = ['x', 'y', 'z'];
    await Promise.all(Array.from({ length: 24 }, (_, i) => rows.set('k', { who: names[i % 3] })));
    const { who } = (await rows.get('k')) as { who: string };
    for (const name of names) expect(await rows.findByField('who', name)).toHaveLength(name === who ? 1 : 0);
    await pass(1_100);
    expect(await rows.findByField('who', who)).toEqual([]);
  });

  it(`warns of what is too large to be cached (${backend})`, async () => {
    const warnings: string[] = [];
    const logger = {
      debug() {},
      info() {},
      error() {},
      warn: (...all: unknown[]) => void warnings.push(String(all.at(-1))),
    };
    const { stateCache } = caches({ warnBytes: 1_000, logger });
    await stateCache.set('small', { text: 'x'.repeat(900) });
    expect(warnings).toEqual([]);
    await stateCache.set('large', { text: 'x'.repeat(2_000) });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('state:large:ann');
  });

  it('a field operation that makes a row gives it the life of its table, and one on a row keeps that of the row', async () => {
    const table = caches().tableCache.table('t', undefined, { ttl: 60 });
    const operations = [
      (key: string) => table.setField(key, 'x', 1),
      (key: string) => table.patch(key, { x: 1 }),
      (key: string) => table.incrementField(key, 'x'),
      (key: string) => table.appendToList(key, 'list', 1),
    ];
    for (const [i, operation] of operations.entries()) {
      await operation(`made ${i}`);
      expect(await table.getTtl(`made ${i}`)).toBe(60);
      await table.set(`there ${i}`, { x: 1 }, { ttl: 900 });
      await operation(`there ${i}`);
      expect(await table.getTtl(`there ${i}`)).toBeGreaterThan(890);
      await table.set(`value ${i}`, 1);
      await expect(operation(`value ${i}`)).rejects.toThrow(CODE('WRONG_TYPE'));
    }
    await Promise.all(Array.from({ length: 20 }, () => table.incrementField('counted', 'n')));
    expect([await table.get('counted'), await table.getTtl('counted')]).toEqual([{ n: 20 }, 60]);
  });

  it('what was loaded is what the schema makes of it, as it is when it is read', async () => {
    const Row = z.object({ n: z.coerce.number(), unit: z.string().default('kg') });
    const table = caches().tableCache.table('t', Row);
    const load = () => ({ n: '7' });
    for (let i = 0; i < 2; i++) {
      // Typed as it is read, though it is loaded as it is stored.
      const { n, unit } = await table.getOrLoad('k', load);
      expect([n.toFixed(1), unit.toUpperCase()]).toEqual(['7.0', 'KG']);
    }
    // @ts-expect-error a unit is a text
    await expect(table.getOrLoad('other', () => ({ n: 1, unit: 2 }))).rejects.toThrow(CODE('SCHEMA_INVALID'));
  });

  it('warns of a part that is too large, too, and counts bytes', async () => {
    const warned: string[] = [];
    const logger = { debug() {}, info() {}, warn: (_: unknown, text?: string) => warned.push(text ?? ''), error() {} };
    const { stateCache } = caches({ warnBytes: 1_000, logger });
    await stateCache.setField('field', 'x', 'x'.repeat(1_000));
    await stateCache.appendToList('list', 'x', 'x'.repeat(1_000));
    await stateCache.set('sheep', '🐑'.repeat(300));
    await stateCache.set('small', 'x'.repeat(900));
    expect(warned.map((text) => text.split(':')[2])).toEqual(['field', 'list', 'sheep']);
  });

  it('names may be as long as is said, and one longer is refused by its name', async () => {
    const long = 'x'.repeat(1_024);
    const { stateCache, userCache, tableCache, expiry } = caches({ tenantId: `${Math.random()}`.padEnd(1_024, 't') });
    await stateCache.set(long, 1);
    await tableCache.set(long, long, { [long.slice(1)]: 1 });
    await userCache.at(long.slice(1)).set(1);
    await expiry.set(long, long.slice(16), { ttl: 60 });
    await tableCache.table('found', undefined, { indexes: ['a'] }).set(long.slice(34), { a: 1 });
    const refused = (argument: string) => expect.objectContaining({ details: expect.objectContaining({ argument }) });
    await expect(async () => userCache.at(long).set(1)).rejects.toThrow(refused('name'));
    await expect(expiry.set(long, long.slice(15), { ttl: 60 })).rejects.toThrow(refused('identifier'));
    await expect(tableCache.setField('t', 'k', long, 1)).rejects.toThrow(refused('field'));
  });

  it('counts and appends in a field that is called like what every object has', async () => {
    const { tableCache } = caches();
    const anything = z.record(z.string(), z.unknown());
    for (const table of [
      tableCache.table('typed', anything),
      tableCache.table('indexed', undefined, { indexes: ['a'] }),
      tableCache.table('plain'),
    ]) {
      for (const field of ['toString', 'constructor', '__proto__']) {
        expect(await table.incrementField('counted', field)).toBe(1);
        await table.appendToList('listed', field, 1);
        expect(await table.getField('listed', field)).toEqual([1]);
      }
    }
  });

  it('an update meets no entry that was deleted and made again as if it were the same', async () => {
    const { stateCache } = caches();
    await stateCache.set('a', { n: 1 });
    const seen: unknown[] = [];
    await stateCache.update<{ n: number }>('a', async (value) => {
      if (seen.push(value?.n) === 1) {
        await stateCache.delete('a');
        await stateCache.set('a', { n: 5 });
      }
      return { n: (value?.n ?? 0) + 1 };
    });
    expect([seen, await stateCache.get('a')]).toEqual([[1, 5], { n: 6 }]);
  });

  it('refuses an update with a wrong ttl before it asks for the change', async () => {
    const change = () => expect.unreachable();
    await expect(caches().stateCache.update('a', change, { ttl: 0 })).rejects.toThrow(CODE('TTL_INVALID'));
  });

  it('refuses a load with a wrong ttl before it loads', async () => {
    const load = () => expect.unreachable();
    await expect(caches().stateCache.at('a').getOrLoad(load, { ttl: 0 })).rejects.toThrow(CODE('TTL_INVALID'));
  });

  it('keeps no load where somebody set the entry meanwhile, and answers with what that is', async () => {
    const entry = caches().stateCache.at('a');
    const load = async () => {
      await entry.set('set');
      return 'loaded';
    };
    expect([await entry.getOrLoad(load), await entry.get()]).toEqual(['set', 'set']);
  });

  it('shares a load between caches of the same storage, and only while it runs', async () => {
    const tenantId = `tenant ${Math.random()}`;
    let loads = 0;
    const load = async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return ++loads;
    };
    const entries = [0, 1].map(() => caches({ tenantId }).stateCache.at('a'));
    expect(await Promise.all(entries.map((entry) => entry.getOrLoad(load)))).toEqual([1, 1]);
    await entries[0]?.delete();
    expect(await entries[1]?.getOrLoad(load)).toBe(2);
  });

  it('an update that makes a row gives it the life of its table', async () => {
    const table = caches().tableCache.table('t', undefined, { ttl: 60 });
    await table.update('k', () => ({ n: 1 }));
    expect(await table.getTtl('k')).toBe(60);
  });

  it('a generation that somebody began while another was begun is swept, too', async () => {
    const tenantId = `tenant ${Math.random()}`;
    const table = caches({ tenantId }).tableCache.table('t', undefined, { versioned: true });
    expect(await table.version()).toBe(1);
    const store = storage();
    const { commit } = store;
    store.commit = async (...args) => {
      store.commit = commit;
      await table.bumpVersion();
      await table.set('k', { n: 1 });
      return commit.apply(store, args);
    };
    expect(await table.bumpVersion()).toBe(3);
    const kept = async () => {
      let count = 0;
      for await (const { key } of store.list({ space: 'cache-tables' })) if (key.scope[0] === tenantId) count++;
      return count;
    };
    // It is swept aside.
    await expect.poll(kept).toBe(0);
  });
});
