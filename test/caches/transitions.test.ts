import { expect, it } from 'vitest';
import { z } from 'zod';
import { onEachBackend } from './backends.js';

onEachBackend('a transition', ({ caches }) => {
  it('creates a row once: the second is told of the first', async () => {
    const { tableCache } = caches();
    const row = { owner: 'a', status: 'pending' };
    expect(await tableCache.createIfAbsent('jobs', '1', row)).toEqual({ status: 'created', row });
    const second = await tableCache.createIfAbsent('jobs', '1', { owner: 'b', status: 'pending' });
    expect(second).toEqual({ status: 'already_exists', row });
    expect(await tableCache.get('jobs', '1')).toEqual(row);
  });

  it('of 20 creates at once makes one; each loser has the stored row', async () => {
    const { tableCache } = caches();
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, owner) => tableCache.createIfAbsent('jobs', '1', { owner })),
    );
    const stored = await tableCache.get('jobs', '1');
    expect(results.filter(({ status }) => status === 'created')).toHaveLength(1);
    for (const { row } of results) expect(row).toEqual(stored);
  });

  it('replaces what is as expected, and nothing else', async () => {
    const { tableCache } = caches();
    const pending = { status: 'pending', n: 1 };
    const settled = { status: 'settled' };
    const expected = { status: 'pending' };
    expect(await tableCache.replaceIf('jobs', '1', settled, expected)).toEqual({ status: 'missing', row: undefined });
    expect(await tableCache.exists('jobs', '1')).toBe(false);
    await tableCache.set('jobs', '1', pending);
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, by) => tableCache.replaceIf('jobs', '1', { ...settled, by }, expected)),
    );
    const stored = await tableCache.get('jobs', '1');
    expect(results.filter(({ status }) => status === 'replaced')).toHaveLength(1);
    for (const { status, row } of results) if (status === 'condition_not_met') expect(row).toEqual(stored);
    expect(await tableCache.replaceIf('jobs', '1', pending, expected)).toEqual({
      status: 'condition_not_met',
      row: stored,
    });
  });

  it('sets the time to live when it takes place, and leaves it when it is refused', async () => {
    const { tableCache } = caches();
    const ttl = () => tableCache.getTtl('jobs', '1');
    await tableCache.createIfAbsent('jobs', '1', { s: 1 }, { ttl: 120 });
    expect(await ttl()).toBeGreaterThan(100);
    await tableCache.createIfAbsent('jobs', '1', { s: 1 }, { ttl: 3600 });
    await tableCache.replaceIf('jobs', '1', { s: 2 }, { s: 9 }, { ttl: 3600 });
    expect(await ttl()).toBeLessThanOrEqual(120);
    await tableCache.replaceIf('jobs', '1', { s: 2 }, { s: 1 });
    expect(await ttl()).toBeLessThanOrEqual(120);
    await tableCache.replaceIf('jobs', '1', { s: 3 }, { s: 2 }, { ttl: 300 });
    expect(await ttl()).toBeGreaterThan(120);
    expect(await ttl()).toBeLessThanOrEqual(300);
  });

  it('refuses an empty row and a condition that is none, and tells values apart', async () => {
    const { tableCache } = caches();
    const row = { flag: 1, none: null };
    await tableCache.set('jobs', '1', row);
    const { version } = (await tableCache.getEntry('jobs', '1')) as { version: string };
    const bad: (() => Promise<unknown>)[] = [
      () => tableCache.createIfAbsent('jobs', '2', {}),
      () => tableCache.replaceIf('jobs', '1', {}, { flag: 1 }),
      () => tableCache.replaceIf('jobs', '1', { a: 1 }, {}),
      () => tableCache.replaceIf('jobs', '1', { a: 1 }, { flag: [] as never }),
      () => tableCache.replaceIf('jobs', '1', { a: 1 }, { flag: {} as never }),
      () => tableCache.replaceIf('jobs', '1', { a: 1 }, { flag: undefined as never }),
    ];
    for (const call of bad) await expect(call()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    for (const expected of [
      { flag: true },
      { flag: '1' },
      { flag: 1, other: null },
      { none: 'null' },
      { flag: 1, none: '' },
    ]) {
      expect((await tableCache.replaceIf('jobs', '1', { a: 1 }, expected)).status).toBe('condition_not_met');
    }
    expect(await tableCache.getEntry('jobs', '1')).toEqual({ value: row, version, ttl: null });
    expect((await tableCache.replaceIf('jobs', '1', { a: 1 }, { flag: 1, none: null })).status).toBe('replaced');
  });

  it('that cannot be stored leaves the row as it was', async () => {
    const { tableCache } = caches();
    const jobs = tableCache.table('jobs', z.object({ s: z.number() }));
    await jobs.set('1', { s: 1 });
    for (const [row, ttl, code] of [
      [{ s: 'x' }, undefined, 'SCHEMA_INVALID'],
      [{ s: 2 }, 0, 'TTL_INVALID'],
      [{ s: 2 }, 1.5, 'TTL_INVALID'],
      [{ s: 2, big: 1n }, undefined, 'VALUE_NOT_JSON'],
    ] as const) {
      await expect(jobs.replaceIf('1', row, { s: 1 }, { ttl })).rejects.toMatchObject({ code });
      await expect(jobs.createIfAbsent('2', row, { ttl })).rejects.toMatchObject({ code });
    }
    expect(await jobs.get('1')).toEqual({ s: 1 });
    expect(await jobs.exists('2')).toBe(false);
  });

  it('keeps an index in step', async () => {
    const { tableCache } = caches();
    const jobs = tableCache.table('jobs', undefined, { indexes: ['s'] });
    await jobs.createIfAbsent('1', { s: 'a' });
    expect((await jobs.createIfAbsent('1', { s: 'b' })).status).toBe('already_exists');
    expect((await jobs.replaceIf('1', { s: 'c' }, { s: 'b' })).status).toBe('condition_not_met');
    expect((await jobs.replaceIf('1', { s: 'c' }, { s: 'a' })).status).toBe('replaced');
    expect(await jobs.findByField('s', 'c')).toEqual([{ key: '1', row: { s: 'c' } }]);
    for (const s of ['a', 'b']) expect(await jobs.findByField('s', s)).toEqual([]);
  });
});

onEachBackend('a versioned table', ({ caches, storage }) => {
  it('begins at 1; a bump makes all rows void, for every instance', async () => {
    const first = caches();
    const tenantId = 'shared tenant';
    const table = caches({ tenantId }).tableCache.table('prices', undefined, { versioned: true });
    const other = caches({ tenantId }).tableCache.table('prices', undefined, { versioned: true });
    const beside = caches({ tenantId }).tableCache.table('names', undefined, { versioned: true });
    expect(await table.version()).toBe(1);
    await table.set('a', { n: 1 });
    await table.set('b', { n: 2 });
    await beside.set('a', { n: 3 });
    expect(await other.get('a')).toEqual({ n: 1 });
    expect(await table.bumpVersion()).toBe(2);
    expect([await table.get('a'), await other.get('b'), await other.version()]).toEqual([undefined, undefined, 2]);
    expect([await other.getAll(), await beside.get('a'), await beside.version()]).toEqual([[], { n: 3 }, 1]);
    await other.set('a', { n: 'fresh' });
    expect(await table.get('a')).toEqual({ n: 'fresh' });
    await expect(first.tableCache.table('plain').bumpVersion()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('does not keep what was loaded before a bump', async () => {
    const table = caches().tableCache.table('prices', undefined, { versioned: true, indexes: ['n'] });
    const loaded = await table.getOrLoad('a', async () => {
      await table.bumpVersion();
      return { n: 'stale' };
    });
    expect(loaded).toEqual({ n: 'stale' });
    expect(await table.get('a')).toBeUndefined();
    expect(await table.findByField('n', 'stale')).toEqual([]);
    expect(await table.getOrLoad('a', () => ({ n: 'fresh' }))).toEqual({ n: 'fresh' });
    expect(await table.get('a')).toEqual({ n: 'fresh' });
  });

  it('brings no old row back when its counter is lost', async () => {
    const tenantId = `tenant that loses ${Math.random()}`;
    const table = caches({ tenantId }).tableCache.table('prices', undefined, { versioned: true });
    await table.set('a', { n: 1 });
    await table.bumpVersion();
    await table.set('a', { n: 2 });
    expect(await storage().delete({ space: 'cache-versions', scope: [tenantId], id: 'prices' })).toBe(true);
    expect(await table.get('a')).toBeUndefined();
    for (let i = 0; i < 3; i++) {
      await table.bumpVersion();
      expect(await table.get('a')).toBeUndefined();
    }
  });

  it('keeps the rows of who began the first generation at the same time', async () => {
    const tenantId = `tenant that begins ${Math.random()}`;
    const [first, second] = [0, 1].map(() =>
      caches({ tenantId }).tableCache.table('t', undefined, { versioned: true }),
    );
    const store = storage();
    const { commit } = store;
    store.commit = async (...args) => {
      store.commit = commit;
      await second?.set('b', 2);
      return commit.apply(store, args);
    };
    await first?.set('a', 1);
    expect([await first?.get('a'), await first?.get('b')]).toEqual([1, 2]);
  });

  it('counts bumps that meet', async () => {
    const table = caches().tableCache.table('prices', undefined, { versioned: true });
    await Promise.all(Array.from({ length: 5 }, () => table.bumpVersion()));
    expect(await table.version()).toBe(6);
  });
});
