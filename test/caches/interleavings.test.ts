import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createCaches } from '../../src/caches/index.js';
import { ForwardingStorage } from '../../src/storage/forwarding-storage.js';
import type { RecordKey } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { Change, CommitOptions, ListQuery, ReadOptions } from '../../src/storage/state-storage.js';
import { TestClock } from '../support/test-clock.js';
import { expected, fieldOf, type Rules, SCHEMA, type Step, sameValue, taken, type World } from './table-model.js';

/** For a long search set AGENTUP_PROPERTY_RUNS=10000. */
const RUNS = Number(process.env['AGENTUP_PROPERTY_RUNS'] ?? 100);

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

/** Lets each call through when it is told to. */
class GatedStorage extends ForwardingStorage {
  readonly waiting: (() => void)[] = [];
  isOpen = true;

  async #turn(): Promise<void> {
    if (!this.isOpen) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  override async read(record: RecordKey, options?: ReadOptions) {
    await this.#turn();
    return super.read(record, options);
  }

  override async commit(record: RecordKey, changes: readonly Change[], options?: CommitOptions) {
    await this.#turn();
    return super.commit(record, changes, options);
  }

  override async delete(record: RecordKey) {
    await this.#turn();
    return super.delete(record);
  }

  override async *list(query: ListQuery) {
    await this.#turn();
    yield* super.list(query);
  }
}

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
        await setImmediate();
        storage.isOpen = false;
        let running = sides.length;
        const answers = Promise.all(
          sides.map(async (steps) => {
            const table = open();
            const said: Answer[] = [];
            for (const one of steps.filter(able)) said.push({ step: one, says: await taken(table, one, pass) });
            running--;
            return said;
          }),
        );
        while (running > 0 || storage.waiting.length > 0) {
          await setImmediate();
          if (storage.waiting.length === 0) continue;
          const next = (choices.next().value ?? 0) % storage.waiting.length;
          storage.waiting.splice(next, 1)[0]?.();
          await setImmediate();
        }
        storage.isOpen = true;
        const said = await answers;
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
