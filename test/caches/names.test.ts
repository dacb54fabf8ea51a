import fc from 'fast-check';
import { expect, it } from 'vitest';
import { anyName } from '../storage/arbitraries.js';
import { onEachBackend } from './backends.js';

const ODD = [
  ':',
  '/',
  '*',
  '?',
  '[',
  ']',
  '\\',
  '{',
  '}',
  '{}',
  '_',
  '..',
  ' ',
  '\0',
  '😀',
  'x'.repeat(300),
  '😀'.repeat(300),
  'CON',
  'a',
  'A',
  'flow[a]',
  'flow[a]_1',
  'flowa',
  'flow',
  '%',
  '%2f',
  'é',
  'e\u0301',
  '__proto__',
  '_profile',
  'profile',
  '.',
  '=',
  '#',
];

async function all(names: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = [];
  for await (const name of names) found.push(name);
  return found.sort();
}

onEachBackend('a name', ({ caches }) => {
  it('of any characters is stored, listed as it is, and deleted alone', async () => {
    const { stateCache, userCache, tableCache } = caches();
    for (const name of ODD) {
      await stateCache.set(name, { name });
      await userCache.set(name, { name });
      await tableCache.set('t', name, { name });
      await tableCache.set(name, 'k', { name });
    }
    await userCache.set({ profile: true });
    const sorted = [...ODD].sort();
    expect(await all(stateCache.names())).toEqual(sorted);
    expect(await all(userCache.names())).toEqual(sorted);
    expect(await all(tableCache.keys('t'))).toEqual(sorted);
    expect((await tableCache.getAll('t')).map(({ row }) => (row as { name: string }).name).sort()).toEqual(sorted);
    for (const name of ODD) {
      expect(await stateCache.get(name)).toEqual({ name });
      expect(await userCache.get(name)).toEqual({ name });
      expect(await tableCache.getAll(name)).toEqual([{ key: 'k', row: { name } }].concat(name === 't' ? [] : []));
      expect(await all(stateCache.usersIn(name))).toEqual(['ann']);
      expect(await tableCache.deleteTable(name)).toBe(1);
      expect(await stateCache.delete(name)).toBe(true);
    }
    expect(await all(stateCache.names())).toEqual([]);
    expect(await all(tableCache.keys('t'))).toEqual(sorted);
    expect(await userCache.get()).toEqual({ profile: true });
    expect(await userCache.deleteAll()).toBe(ODD.length + 1);
  });

  it('of a tenant or user never meets another', async () => {
    const at = (tenantId: string, userId: string) => caches({ tenantId, userId });
    const pairs = [
      ['a_b', 'c'],
      ['a', 'b_c'],
      ['a:b', 'c'],
      ['a', 'b:c'],
      ['a/b', 'c'],
      ['a', 'b/c'],
      ['A', 'B_c'],
      ['..', '..'],
      ['a', '*'],
      ['*', 'a'],
    ] as const;
    for (const [tenant, user] of pairs) {
      await at(tenant, user).stateCache.set('flow', { tenant, user });
      await at(tenant, user).userCache.set({ tenant, user });
      await at(tenant, user).tableCache.set(user, 'k', { tenant, user });
    }
    for (const [tenant, user] of pairs) {
      const { stateCache, userCache, tableCache } = at(tenant, user);
      expect(await stateCache.get('flow')).toEqual({ tenant, user });
      expect(await userCache.get()).toEqual({ tenant, user });
      expect(await tableCache.get(user, 'k')).toEqual({ tenant, user });
      expect(await all(stateCache.usersIn('flow'))).toEqual(
        pairs
          .filter(([other]) => other === tenant)
          .map(([, name]) => name)
          .sort(),
      );
    }
    for (const [tenant, user] of pairs) expect(await at(tenant, user).stateCache.deleteAll()).toBe(1);
    expect(await at('tables', 'u').tableCache.get('user:profiles', 'john:smith')).toBeUndefined();
    await at('tables', 'u').tableCache.set('user:profiles', 'john:smith', { n: 1 });
    await at('tables', 'u').tableCache.set('user_profiles', 'john_smith', { n: 2 });
    expect(await at('tables', 'u').tableCache.get('user:profiles', 'john:smith')).toEqual({ n: 1 });
  });

  it('is listed by prefix as text, and deleted in numbers', async () => {
    const tenantId = `tenant ${Math.random()}`;
    const ann = caches({ tenantId }).stateCache;
    const bob = caches({ tenantId, userId: 'bob' }).stateCache;
    for (const name of ['flow[a]_1', 'flow[a]_2', 'flowa', 'other']) await ann.set(name, {});
    await bob.set('flow[a]_1', {});
    expect(await all(ann.names({ prefix: 'flow[a]' }))).toEqual(['flow[a]_1', 'flow[a]_2']);
    expect(await all(ann.names({ prefix: '*' }))).toEqual([]);
    expect(await ann.deleteByPrefix('flow[a]')).toBe(2);
    expect([await ann.deleteByPrefix('flow[a]'), await ann.deleteAll(), await ann.deleteAll()]).toEqual([0, 2, 0]);
    expect(await all(bob.names())).toEqual(['flow[a]_1']);
    expect(await all(bob.usersIn('flow[a]_1'))).toEqual(['bob']);
    await expect(ann.deleteByPrefix('')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('is deleted in exact numbers while others write', async () => {
    const tenantId = `tenant ${Math.random()}`;
    const first = caches({ tenantId }).tableCache;
    const second = caches({ tenantId }).tableCache;
    for (let i = 0; i < 60; i++) await first.set('t', `old${i}`, { i });
    const writes = Array.from({ length: 60 }, (_, i) => first.createIfAbsent('t', `new${i}`, { i }));
    const [a, b] = await Promise.all([first.deleteTable('t'), second.deleteTable('t'), ...writes]);
    expect((a as number) + (b as number) + (await first.deleteTable('t'))).toBe(120);
  });

  it('never leads to the record of another, whatever it holds', async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.tuple(anyName, anyName, anyName), {
          minLength: 2,
          maxLength: 6,
          selector: (parts) => JSON.stringify(parts),
        }),
        async (tuples) => {
          run++;
          const scope = ([tenant, user]: readonly string[]) =>
            caches({ tenantId: `${run} ${tenant}`, userId: user as string });
          for (const tuple of tuples) {
            await scope(tuple).stateCache.set(tuple[2], { tuple });
            await scope(tuple).userCache.set(tuple[2], { tuple });
            await scope(tuple).tableCache.set(tuple[1], tuple[2], { tuple });
          }
          for (const tuple of tuples) {
            expect(await scope(tuple).stateCache.get(tuple[2])).toEqual({ tuple });
            expect(await scope(tuple).userCache.get(tuple[2])).toEqual({ tuple });
            expect(await scope(tuple).tableCache.get(tuple[1], tuple[2])).toEqual({ tuple });
          }
        },
      ),
      { numRuns: Number(process.env['AGENTUP_PROPERTY_RUNS'] ?? 40) },
    );
  });
});
