import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createCaches } from '../../src/caches/index.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { TestClock } from '../support/test-clock.js';
import { GatedStorage } from './gated-storage.js';
import { expected, fieldOf, type Rules, SCHEMA, type Step, sameValue, taken, type World } from './table-model.js';

/** For a long search set AGENTUP_PROPERTY_RUNS=10000. */
const RUNS = Number(process.env['AGENTUP_PROPERTY_RUNS'] ?? 60);

const HELD = [0, 1, '1', 'text', [1]] as const;
const key = fc.constant('a');
const value = fc.constantFrom<unknown>(...HELD);
const row = value.map((f) => ({ f }));
const ttl = fc.constantFrom(1, 1_000, 'none' as const, 'keep' as const, undefined);

const step: fc.Arbitrary<Step> = fc.oneof<fc.Arbitrary<Step>[]>(
  fc.record({ do: fc.constant('set' as const), key, value: row, ttl, fresh: fc.boolean() }),
  fc.record({ do: fc.constant('patch' as const), key, value: row, ttl }),
  fc.record({ do: fc.constant('setField' as const), key, field: fc.constantFrom('f', 'g'), value, ttl }),
  fc.record({ do: fc.constant('increment' as const), key, field: fc.constant('f'), by: fc.constantFrom(1, -1), ttl }),
  fc.record({ do: fc.constant('append' as const), key, field: fc.constant('f'), value, ttl }),
  fc.record({ do: fc.constant('delete' as const), key }),
  fc.record({ do: fc.constant('setTtl' as const), key, ttl: fc.constantFrom(1, 1_000, 'none' as const) }),
  fc.record({ do: fc.constant('create' as const), key, value: row, ttl: fc.constantFrom(1, undefined) }),
  fc.record({ do: fc.constant('replaceIf' as const), key, value: row, held: fc.constantFrom(0, 1), ttl }),
  fc.record({ do: fc.constant('update' as const), key, value: row, ttl }),
  fc.constant({ do: 'getOrLoad' as const, key: 'a', value: { f: 1 } }),
  fc.record({ do: fc.constant('find' as const), held: value }),
  fc.record({ do: fc.constant('get' as const), key }),
  fc.constant({ do: 'deleteTable' as const }),
  fc.constant({ do: 'bump' as const }),
);
const rules: fc.Arbitrary<Rules> = fc.record({
  ttl: fc.constantFrom<Rules['ttl']>(undefined, 100),
  versioned: fc.boolean(),
  indexes: fc.constantFrom(undefined, ['f'], ['f']),
  schema: fc.boolean(),
});

interface Answer {
  readonly step: Step;
  readonly says: unknown;
}

/** Is there an order of these steps, each side's its own, in which a table would have given these answers? */
function isExplained(
  world: World,
  sides: readonly (readonly Answer[])[],
  rules: Rules,
  end: (world: World) => boolean,
): boolean {
  if (sides.every((side) => side.length === 0)) return end(world);
  return sides.some((side, at) => {
    const [first, ...later] = side;
    if (!first) return false;
    const rest = sides.map((other, i) => (i === at ? later : other));
    const wanted = expected(world, first.step, rules);
    if (sameAnswer(wanted.says, first.says) && isExplained(wanted.world, rest, rules, end)) return true;
    // What began before a bump of somebody else may be void with all the others.
    const others = sides.filter((_, i) => i !== at).flat();
    const isVoid = others.some((one) => one.step.do === 'bump') && first.step.do !== 'bump';
    return (isVoid || isShared(first, others)) && isExplained(world, rest, rules, end);
  });
}

/** Who joins a load is answered with what it brings, also where that has been deleted meanwhile. */
function isShared({ step, says }: Answer, others: readonly Answer[]): boolean {
  return step.do === 'getOrLoad' && sameAnswer(says, step.value) && others.some((one) => one.step.do === 'getOrLoad');
}

function sameAnswer(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

it('what two instances do to a row at the same time has an order, and the row is found by what it holds', async () => {
  await fc.assert(
    fc.asyncProperty(
      rules,
      fc.array(step, { maxLength: 2 }),
      fc.tuple(fc.array(step, { minLength: 1, maxLength: 3 }), fc.array(step, { minLength: 1, maxLength: 2 })),
      fc.infiniteStream(fc.nat(1_000)),
      async (given, before, sides, choices) => {
        const clock = new TestClock();
        const storage = new GatedStorage(new MemoryStorage({ clock }));
        const open = () =>
          createCaches({ storage, tenantId: 't', clock }).tableCache.table(
            't',
            given.schema ? SCHEMA : undefined,
            given,
          );
        const able = (one: Step) =>
          (given.versioned || one.do !== 'bump') && (given.indexes !== undefined || one.do !== 'find');
        const pass = async () => {};
        const first = open();
        let world: World = { rows: new Map(), version: 1, now: clock.now() };
        for (const one of before.filter(able)) {
          await taken(first, one, pass);
          world = expected(world, one, given).world;
        }
        const said = await storage.interleaved(
          sides.map((steps) => async () => {
            const table = open();
            const answers: Answer[] = [];
            for (const one of steps.filter(able)) answers.push({ step: one, says: await taken(table, one, pass) });
            return answers;
          }),
          choices,
        );
        const [held, left] = [await first.get('a'), await first.getTtl('a')];
        const isEnd = ({ rows, now }: World) => {
          const there = rows.get('a');
          const life = there && (there.endsAt === undefined ? null : Math.ceil((there.endsAt - now) / 1000));
          return sameAnswer(there?.value, held) && life === left;
        };
        const shown = JSON.stringify({ said, held, left });
        expect(isExplained(world, said, given, isEnd), shown).toBe(true);
        if (!given.indexes) return;
        const check = async (there: boolean) => {
          for (const one of HELD) {
            const found = await first.findByField('f', one);
            expect(found, shown).toHaveLength(there && sameValue(fieldOf(held, 'f'), one) ? 1 : 0);
          }
        };
        await check(true);
        clock.advance(typeof left === 'number' ? left * 1000 - 1 : 36_000_000);
        await check(true);
        if (typeof left !== 'number') return;
        clock.advance(1);
        await check(false);
      },
    ),
    { numRuns: RUNS },
  );
});

type ActionStep =
  | { readonly do: 'set'; readonly name: string; readonly ttl: number; readonly throws: number }
  | { readonly do: 'delete'; readonly name: string }
  | { readonly do: 'run' }
  | { readonly do: 'pass' };

const name = fc.constantFrom('x', 'y');
const client = fc.oneof<fc.Arbitrary<ActionStep>[]>(
  fc.record({
    do: fc.constant('set' as const),
    name,
    ttl: fc.constantFrom(1, 1, 2, 90),
    throws: fc.constantFrom(0, 0, 1, 2),
  }),
  fc.record({ do: fc.constant('delete' as const), name }),
  fc.constant({ do: 'pass' as const }),
);
const worker = fc.constantFrom<ActionStep>({ do: 'run' }, { do: 'run' }, { do: 'pass' });

it('an action runs once, in its time, whatever two workers and who sets, moves and stops it do meanwhile', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(
        fc.array(client, { minLength: 1, maxLength: 5 }),
        fc.array(worker, { maxLength: 3 }),
        fc.array(worker, { maxLength: 3 }),
      ),
      fc.infiniteStream(fc.nat(1_000)),
      async (sides, choices) => {
        const clock = new TestClock();
        const storage = new GatedStorage(new MemoryStorage({ clock }));
        const open = () => createCaches({ storage, tenantId: 't', clock }).expiry;
        /** Every setting of an action, as what is given with it. */
        const settings: { name: string; at: number; throws: number; begun: number; done: number; isOver: boolean }[] =
          [];
        const current = new Map<string, number>();
        const wrong: string[] = [];
        const run = (expiry: ReturnType<typeof open>) =>
          expiry.runDue('a', ({ identifier, data }) => {
            const setting = settings[data as number];
            // What is thrown here would be a handler that fails.
            if (setting?.name !== identifier) wrong.push('has what was given to another');
            if (!setting) return;
            if (clock.now() < setting.at) wrong.push('is early');
            if (setting.isOver && setting.begun === 0) wrong.push('begins after its end');
            if (setting.done > 0) wrong.push('runs again');
            if (setting.begun++ < setting.throws) throw new Error('not now');
            setting.done++;
          });
        const over = (of: string) => {
          const setting = settings[current.get(of) ?? -1];
          if (setting) setting.isOver = true;
          current.delete(of);
        };
        const act = async (expiry: ReturnType<typeof open>, one: ActionStep): Promise<void> => {
          if (one.do === 'pass') return clock.advance(1_000);
          if (one.do === 'run') return void (await run(expiry));
          if (one.do === 'delete') {
            await expiry.delete('a', one.name);
            return over(one.name);
          }
          const setting = { ...one, at: clock.now() + one.ttl * 1000, begun: 0, done: 0, isOver: false };
          const data = settings.push(setting) - 1;
          await expiry.set('a', one.name, { ttl: one.ttl, data });
          over(one.name);
          current.set(one.name, data);
        };
        await storage.interleaved(
          sides.map((steps) => async () => {
            const expiry = open();
            for (const one of steps) await act(expiry, one);
          }),
          choices,
        );
        for (let i = 0; i < 8; i++) {
          clock.advance(100_000);
          await run(open());
        }
        expect(wrong, JSON.stringify(settings)).toEqual([]);
        for (const at of current.values()) expect(settings[at]?.done, JSON.stringify(settings)).toBe(1);
        for (const space of ['cache-actions', 'cache-due']) {
          clock.advance(2_000);
          for await (const { key: left } of storage.list({ space }))
            expect(left, JSON.stringify(settings)).toBeUndefined();
        }
      },
    ),
    { numRuns: RUNS },
  );
});
