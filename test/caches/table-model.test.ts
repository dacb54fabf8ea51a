import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Table } from '../../src/caches/table.js';
import { EncryptedStorage } from '../../src/storage/encryption/index.js';
import { onEachBackend } from './backends.js';
import { expected, fieldOf, type Rules, SCHEMA, type Step, sameValue, taken, type World } from './table-model.js';

/** For a long search set AGENTUP_PROPERTY_RUNS=10000. */
const RUNS = Number(process.env['AGENTUP_PROPERTY_RUNS'] ?? 12);

const KEYS = ['a', 'A/:*', '__proto__'];
const VALUES = [0, -0, 1, '1', null, true, [], [1], { k: 'v' }, 'text', Number.MAX_SAFE_INTEGER] as const;
const key = fc.constantFrom(...KEYS);
const field = fc.constantFrom('f', 'f', 'toString', '__proto__');
const value = fc.constantFrom<unknown>(...VALUES);
const row = fc
  .array(fc.tuple(field, value), { minLength: 1, maxLength: 3 })
  .map((entries) => Object.fromEntries(entries) as Record<string, unknown>);
const some = fc.oneof({ weight: 3, arbitrary: row }, value);
const seconds = fc.constantFrom(1, 60, 100, 1_000);
const ttl = fc.oneof(seconds, fc.constantFrom('none' as const, 'keep' as const, undefined));

const simple: fc.Arbitrary<Step> = fc.oneof<fc.Arbitrary<Step>[]>(
  fc.record({ do: fc.constant('set' as const), key, value: some, ttl, fresh: fc.boolean() }),
  fc.record({ do: fc.constant('patch' as const), key, value: row, ttl }),
  fc.record({ do: fc.constant('setField' as const), key, field, value, ttl }),
  fc.record({ do: fc.constant('increment' as const), key, field, by: fc.constantFrom(1, -3, 0, -0), ttl }),
  fc.record({ do: fc.constant('append' as const), key, field, value, ttl }),
  fc.record({ do: fc.constant('delete' as const), key }),
  fc.record({ do: fc.constant('setTtl' as const), key, ttl: fc.oneof(seconds, fc.constant('none' as const)) }),
  fc.record({
    do: fc.constant('create' as const),
    key,
    value: row,
    ttl: fc.oneof(seconds, fc.constant(undefined)),
  }),
  fc.record({
    do: fc.constant('replaceIf' as const),
    key,
    value: row,
    held: fc.constantFrom(0, 1, '1', null, true),
    ttl,
  }),
  fc.constant({ do: 'deleteTable' as const }),
  fc.constant({ do: 'bump' as const }),
  fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 999, 1_000, 61_000, 3_600_000) }),
);
const meanwhile = fc.option(simple, { nil: undefined });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: simple },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('update' as const), key, value: some, ttl, meanwhile }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('getOrLoad' as const), key, value: some, meanwhile }) },
) as fc.Arbitrary<Step>;

const rules: fc.Arbitrary<Rules> = fc.record({
  ttl: fc.constantFrom<Rules['ttl']>(undefined, 'none', 100),
  versioned: fc.boolean(),
  indexes: fc.constantFrom(undefined, ['f'], ['f', '__proto__']),
  schema: fc.boolean(),
});

onEachBackend('a table under any sequence of calls', ({ backend, caches, storage, pass, now, clock }) => {
  /** Everything that can be asked of a table is what the model says. */
  const compare = async (table: Table, world: World, { indexes, versioned }: Rules): Promise<void> => {
    const names = [...world.rows.keys()].sort();
    const all = new Map((await table.getAll({ invalid: 'skip' })).map((found) => [found.key, found.row]));
    expect([...all.keys()].sort()).toEqual(names);
    const keys: string[] = [];
    for await (const name of table.keys()) keys.push(name);
    expect(keys.sort()).toEqual(names);
    for (const name of KEYS) {
      const there = world.rows.get(name);
      const { value: held, ttl: left } = (await table.at(name).getEntry()) ?? {};
      expect(held).toStrictEqual(there?.value);
      expect(all.get(name)).toStrictEqual(there?.value);
      expect(await table.exists(name)).toBe(there !== undefined);
      expect(await table.getField(name, 'f')).toStrictEqual(fieldOf(there?.value, 'f'));
      const wanted = there && (there.endsAt === undefined ? null : Math.ceil((there.endsAt - world.now) / 1000));
      if (clock || typeof wanted !== 'number') expect(left).toBe(wanted);
      else expect(Math.abs((left ?? 0) - wanted)).toBeLessThan(30);
    }
    if (versioned) expect(await table.version()).toBe(world.version);
    for (const name of indexes ?? []) {
      for (const held of VALUES) {
        const found = [...world.rows].filter(([, one]) => sameValue(fieldOf(one.value, name), held));
        const got = await table.findByField(name, held);
        expect(got.map((one) => one.key).sort()).toEqual(found.map(([one]) => one).sort());
      }
    }
  };

  it('has the answers of a plain model, from two instances, in clear and encrypted', async () => {
    await fc.assert(
      fc.asyncProperty(
        rules,
        fc.boolean(),
        fc.array(fc.tuple(fc.nat(1), step), { minLength: 1, maxLength: 15 }),
        async (given, encrypted, steps) => {
          const tenantId = `model ${randomBytes(6).toString('hex')}`;
          const store = encrypted
            ? new EncryptedStorage(storage(), { key: randomBytes(32).toString('base64') })
            : storage();
          const open = () => {
            const common = { ...(clock && { clock }), storage: store, tenantId };
            return caches(common as never).tableCache.table('t', given.schema ? SCHEMA : undefined, given);
          };
          const instances = [open(), open()];
          let world: World = { rows: new Map(), version: 1, now: now() };
          for (const [instance, one] of steps) {
            const inside = 'meanwhile' in one ? one.meanwhile : undefined;
            // Where time is the server's it passes in tests of its own.
            if (!clock && (one.do === 'pass' || inside?.do === 'pass')) continue;
            if (!given.versioned && (one.do === 'bump' || inside?.do === 'bump')) continue;
            // It may count as before the bump or as after it.
            if (one.do === 'update' && inside?.do === 'bump') continue;
            if (!clock) world = { ...world, now: now() };
            const wanted = expected(world, one, given);
            expect(await taken(instances[instance] as Table, one, pass)).toStrictEqual(wanted.says);
            world = wanted.world;
          }
          await compare(instances[0] as Table, world, given);
          if (!clock) return;
          // What ends does, and what stays is still found when no hint of what was lives any longer.
          await pass(500_000);
          world = expected(world, { do: 'pass', ms: 500_000 }, given).world;
          await compare(instances[1] as Table, world, given);
        },
      ),
      { numRuns: RUNS },
    );
  });

  it('lists what stays, each once and in order, while other rows come and go', async () => {
    const table = caches().tableCache.table('t', undefined, { indexes: ['f'], versioned: true });
    // More than a page, where a list has pages.
    const names = Array.from(
      { length: backend === 'valkey' ? 510 : 60 },
      (_, i) => `row ${String(i).padStart(3, '0')}`,
    );
    const [staying, going] = [names.filter((_, i) => i % 10 !== 5), names.filter((_, i) => i % 10 === 5)];
    const plain = caches().tableCache.table('plain');
    await Promise.all(names.map((name) => plain.set(name, { f: 1 })));
    const seen: string[] = [];
    for await (const name of plain.keys()) {
      if (seen.push(name) % 20 !== 1) continue;
      // One that may be before or after, and one on either side that was not there.
      await plain.delete(going[(seen.length * 7) % going.length] as string);
      await plain.set(`q${seen.length}`, { f: 1 });
      await plain.set(`row ${seen.length}b`, { f: 1 });
    }
    expect(seen).toEqual([...new Set(seen)].sort());
    expect(seen.filter((name) => staying.includes(name))).toEqual(staying);
    // A list that began before a bump brings no row from after it.
    for (const name of ['a', 'b']) await table.set(name, { f: 1 });
    const listed: string[] = [];
    for await (const name of table.keys()) {
      if (listed.push(name) > 1) continue;
      await table.bumpVersion();
      await table.set('c', { f: 1 });
    }
    expect(listed).not.toContain('c');
    expect(await table.findByField('f', 1)).toEqual([{ key: 'c', row: { f: 1 } }]);
  });
});
