import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { CacheEntry } from '../../src/caches/index.js';
import { onEachBackend } from './backends.js';

const NAMES = ['a', 'A', 'a:b'] as const;
const field = fc.constantFrom('f', 'g', '__proto__x', '#');
const value = fc.constantFrom<unknown>(0, 1, '1', null, true, [], [1], { k: 'v' }, 'text', Number.MAX_SAFE_INTEGER);
const row = fc.dictionary(field, value, { maxKeys: 3, noNullPrototype: true });
const ttl = fc.constantFrom<number | 'none' | 'keep' | undefined>(500, 9_000, 'none', 'keep', undefined);

type Step =
  | { do: 'set'; value: unknown; ttl: number | 'none' | 'keep' | undefined }
  | { do: 'patch'; value: Record<string, unknown>; ttl: number | 'none' | 'keep' | undefined }
  | { do: 'setField'; field: string; value: unknown; ttl: number | 'none' | 'keep' | undefined }
  | { do: 'increment'; field: string; by: number }
  | { do: 'append'; field: string; value: unknown }
  | { do: 'delete' }
  | { do: 'setTtl'; ttl: number | 'none' }
  | { do: 'update'; value: unknown };

const step: fc.Arbitrary<{ name: number; step: Step }> = fc.record({
  name: fc.nat(NAMES.length - 1),
  step: fc.oneof<fc.Arbitrary<Step>[]>(
    fc.record({ do: fc.constant('set' as const), value: fc.oneof(row, value), ttl }),
    fc.record({ do: fc.constant('patch' as const), value: row, ttl }),
    fc.record({ do: fc.constant('setField' as const), field, value, ttl }),
    fc.record({ do: fc.constant('increment' as const), field, by: fc.constantFrom(1, -3, 0) }),
    fc.record({ do: fc.constant('append' as const), field, value }),
    fc.constant({ do: 'delete' as const }),
    fc.record({ do: fc.constant('setTtl' as const), ttl: fc.constantFrom<number | 'none'>(700, 'none') }),
    fc.record({ do: fc.constant('update' as const), value: row }),
  ),
});

interface Modelled {
  value: unknown;
  /** Seconds, of which a few may have passed; `null` never. */
  ttl: number | null;
}

/** The caches once more, in the plainest way: a value and its life, a copy for everything. */
function model(before: Modelled | undefined, action: Step): { after: Modelled | undefined; says: unknown } {
  const lives = (given: number | 'none' | 'keep' | undefined, absent: 'none' | 'keep'): number | null => {
    const wanted = given ?? absent;
    return wanted === 'keep' ? (before?.ttl ?? null) : wanted === 'none' ? null : wanted;
  };
  const isRow = (one: unknown): one is Record<string, unknown> =>
    typeof one === 'object' && one !== null && !Array.isArray(one);
  const fields = before === undefined ? {} : before.value;
  const fails = (code: string) => ({ after: before, says: code });
  switch (action.do) {
    case 'set':
      return { after: { value: action.value, ttl: lives(action.ttl, 'none') }, says: 'written' };
    case 'update':
      return { after: { value: action.value, ttl: before ? before.ttl : null }, says: action.value };
    case 'delete':
      return { after: undefined, says: before !== undefined };
    case 'setTtl':
      if (!before) return { after: before, says: false };
      return { after: { ...before, ttl: action.ttl === 'none' ? null : action.ttl }, says: true };
  }
  if (!isRow(fields)) return fails('WRONG_TYPE');
  switch (action.do) {
    case 'patch':
      return { after: { value: { ...fields, ...action.value }, ttl: lives(action.ttl, 'keep') }, says: 'written' };
    case 'setField':
      return {
        after: { value: { ...fields, [action.field]: action.value }, ttl: lives(action.ttl, 'keep') },
        says: 'written',
      };
    case 'increment': {
      const now = fields[action.field] ?? (action.field in fields ? null : 0);
      if (typeof now !== 'number') return fails('WRONG_TYPE');
      const sum = now + action.by;
      if (!Number.isSafeInteger(sum)) return fails('INTEGER_OVERFLOW');
      return { after: { value: { ...fields, [action.field]: sum }, ttl: lives('keep', 'keep') }, says: sum };
    }
    case 'append': {
      const now = action.field in fields ? fields[action.field] : [];
      if (!Array.isArray(now)) return fails('WRONG_TYPE');
      return {
        after: { value: { ...fields, [action.field]: [...now, action.value] }, ttl: lives('keep', 'keep') },
        says: 'written',
      };
    }
  }
}

async function act(entry: CacheEntry, action: Step): Promise<unknown> {
  try {
    switch (action.do) {
      case 'set':
        return typeof (await entry.set(action.value, { ttl: action.ttl })) === 'string' && 'written';
      case 'patch':
        return typeof (await entry.patch(action.value, { ttl: action.ttl })) === 'string' && 'written';
      case 'setField':
        return typeof (await entry.setField(action.field, action.value, { ttl: action.ttl })) === 'string' && 'written';
      case 'increment':
        return await entry.incrementField(action.field, action.by);
      case 'append':
        return typeof (await entry.appendToList(action.field, action.value)) === 'string' && 'written';
      case 'delete':
        return await entry.delete();
      case 'setTtl':
        return await entry.setTtl(action.ttl);
      case 'update':
        return await entry.update(() => action.value);
    }
  } catch (error) {
    return (error as { code: string }).code;
  }
}

onEachBackend('any sequence of calls', ({ caches }) => {
  it('has the answers of a plain model, in each of the caches', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('state', 'user', 'table', 'indexed'),
        fc.array(step, { minLength: 1, maxLength: 25 }),
        async (face, steps) => {
          const { stateCache, userCache, tableCache } = caches();
          const indexed = tableCache.table('indexed', undefined, { indexes: ['f'] });
          const at = (name: string): CacheEntry => {
            if (face === 'state') return stateCache.at(name);
            if (face === 'user') return userCache.at(name);
            return face === 'table' ? tableCache.at('t', name) : indexed.at(name);
          };
          const wanted = new Map<string, Modelled | undefined>();
          for (const { name: index, step: action } of steps) {
            const name = NAMES[index] as string;
            const { after, says } = model(wanted.get(name), action);
            wanted.set(name, after);
            expect(await act(at(name), action)).toStrictEqual(says);
          }
          for (const name of NAMES) {
            const { value: stored, ttl: left } = (await at(name).getEntry()) ?? {};
            const there = wanted.get(name);
            expect(stored).toStrictEqual(there?.value);
            if (there?.ttl) expect(Math.abs((left ?? 0) - there.ttl)).toBeLessThan(120);
            else expect(left).toBe(there ? null : undefined);
          }
          // Every row is found by what its indexed field holds now, and by nothing else.
          if (face !== 'indexed') return;
          const byField = new Map<string, string[]>();
          for (const [name, entry] of wanted) {
            const held = (entry?.value as { f?: unknown } | null | undefined)?.f;
            if (entry === undefined || held === undefined || Array.isArray(entry.value)) continue;
            const token = JSON.stringify(held);
            byField.set(token, [...(byField.get(token) ?? []), name].sort());
          }
          for (const held of [0, 1, '1', null, true, [], [1], { k: 'v' }, 'text']) {
            const found = (await indexed.findByField('f', held)).map(({ key }) => key).sort();
            expect(found).toEqual(byField.get(JSON.stringify(held)) ?? []);
          }
        },
      ),
      { numRuns: Number(process.env['AGENTUP_PROPERTY_RUNS'] ?? 40) },
    );
  });
});
