import fc from 'fast-check';
import type { Act, ConversationStep, Taken } from './conversation-pair.js';
import { IDS } from './conversation-pair.js';
import type { Op, PlainSettings } from './plain-conversations.js';

const name = fc.constantFrom('n', 'l', 's', '__proto__');
const value = fc.constantFrom<unknown>(0, 1, 7, 'text', null, [], ['x'], { a: 1 }, -0);
const user = fc.constantFrom('ann', 'bob');
const content = fc.constantFrom('a', 'bb', 'ccccc', 'd'.repeat(3_000));

export interface ConversationAbility {
  movesTime: boolean;
  reopens: boolean;
  instances: number;
}

export const anySettings = ({ movesTime }: ConversationAbility): fc.Arbitrary<PlainSettings> =>
  fc
    .tuple(
      fc.constantFrom<number | 'none'>(...(movesTime ? [2, 100] : [100_000]), 'none'),
      fc.constantFrom({ load: 2, max: undefined }, { load: 50, max: 3 }, { load: 50, max: undefined }),
      fc.constantFrom(0, 2, 2),
    )
    .map(([ttl, history, dedupe]) => ({ ttl, ...history, dedupe }));

export function conversationSteps(
  { movesTime, reopens, instances }: ConversationAbility,
  { load }: PlainSettings,
): fc.Arbitrary<ConversationStep[]> {
  const by = fc.nat(instances - 1);
  const id = fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat(IDS.length - 1) });
  const ttl = fc.constantFrom<number | 'none'>(...(movesTime ? [1, 3, 50] : [50_000, 900_000]), 'none');
  const optional = <T>(given: fc.Arbitrary<T>) => fc.option(given, { nil: undefined });
  const write = fc.oneof<fc.WeightedArbitrary<Op>[]>(
    { weight: 3, arbitrary: fc.record({ op: fc.constant('set' as const), name, value }) },
    { weight: 3, arbitrary: fc.record({ op: fc.constant('increment' as const), name, by: fc.constantFrom(1, -2) }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constant('append' as const), name, item: value }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('update' as const), name, value }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constant('delete' as const), name }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('setMeta' as const), name, value }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('deleteMeta' as const), name }) },
    { weight: 4, arbitrary: fc.record({ op: fc.constant('say' as const), content }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('setTtl' as const), ttl }) },
    {
      weight: 1,
      arbitrary: fc.record({ op: fc.constant('getOrCreate' as const), userId: user }, { requiredKeys: ['op'] }),
    },
  );
  const clear = fc.constantFrom<Op>({ op: 'clear' }, { op: 'clearHistory' });
  const read = fc.oneof<fc.Arbitrary<Op>[]>(
    fc.record({ op: fc.constantFrom('get' as const, 'getMeta' as const), name }),
    fc.constantFrom<Op>({ op: 'variables' }, { op: 'getTtl' }),
    fc.record(
      { op: fc.constant('history' as const), limit: fc.nat(5), before: fc.nat(8), maxTokens: fc.constantFrom(0, 3, 9) },
      { requiredKeys: ['op'] },
    ),
  );
  const any = fc.oneof(
    { weight: 5, arbitrary: write },
    { weight: 1, arbitrary: clear },
    { weight: 2, arbitrary: read },
  );
  const call = fc.record({
    do: fc.constant('call' as const),
    op: fc.oneof({ weight: 9, arbitrary: any }, { weight: 1, arbitrary: fc.constant<Op>({ op: 'save' }) }),
  });
  const elsewhere = fc.record({ do: fc.constant('elsewhere' as const), op: any });
  // A history that somebody else clears is not to be seen further than it was loaded.
  const aside = fc.record({ do: fc.constant('aside' as const), op: load > 10 ? any : write });
  const nested = (...deeper: fc.Arbitrary<Act[]>[]): fc.Arbitrary<Act> =>
    fc.record(
      {
        ...{ do: fc.constant('nested' as const), userId: user, throws: fc.boolean() },
        acts: fc.tuple(...deeper).map((acts) => acts.flat()),
      },
      { requiredKeys: ['do', 'throws', 'acts'] },
    );
  const several = (...some: fc.WeightedArbitrary<Act>[]) => fc.array(fc.oneof(...some), { maxLength: 4 });
  const inside = fc.oneof({ weight: 9, arbitrary: call }, { weight: 1, arbitrary: elsewhere });
  const within = several(
    { weight: 5, arbitrary: inside },
    { weight: 1, arbitrary: nested(several({ weight: 1, arbitrary: inside })) },
  );
  const act = fc.oneof<fc.WeightedArbitrary<Act>[]>(
    { weight: 6, arbitrary: inside },
    { weight: 1, arbitrary: nested(within) },
  );
  // A handler in a handler that saves what somebody else has written to meanwhile, and may be refused.
  const contested = name.chain((name) => {
    const saves = fc.constant<Act[]>([
      { do: 'call', op: { op: 'increment', name, by: 1 } },
      { do: 'call', op: { op: 'save' } },
    ]);
    return fc.tuple<Act[]>(
      fc
        .constantFrom<Op>({ op: 'set', name, value: 'text' }, { op: 'increment', name, by: 7 })
        .map((op) => ({ do: 'aside', op })),
      fc.oneof(
        nested(within, saves, within),
        nested(
          within,
          nested(within, saves, within).map((act) => [act]),
        ),
      ),
      fc.constant<Act>({ do: 'call', op: { op: 'get', name } }),
    );
  });
  const turn = (acts: fc.Arbitrary<Act[]>): fc.Arbitrary<Taken> =>
    fc.record(
      {
        ...{ by, messageId: fc.constantFrom('1', '2', '3', '4'), userId: user, acts },
        throws: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
      },
      { requiredKeys: ['by', 'acts', 'throws'] },
    );
  const some = fc.oneof<fc.WeightedArbitrary<Act[]>[]>(
    { weight: 12, arbitrary: act.map((act) => [act]) },
    { weight: 3, arbitrary: aside.map((act) => [act]) },
    { weight: 1, arbitrary: contested },
  );
  const alone = turn(fc.array(some, { maxLength: 6 }).map((acts) => acts.flat())).map((one) => [one]);
  // Of one user: whether another is refused depends on who comes first.
  const together = fc
    .tuple(fc.array(turn(fc.array(act, { maxLength: 6 })), { minLength: 2, maxLength: 4 }), optional(user))
    .map(([turns, userId]) => turns.map(({ userId: _, ...one }) => (userId === undefined ? one : { ...one, userId })));
  const step = fc.oneof<fc.WeightedArbitrary<ConversationStep>[]>(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('call' as const), by, id, op: any }) },
    { weight: 6, arbitrary: fc.record({ do: fc.constant('turns' as const), id, turns: alone }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('turns' as const), id, turns: together }) },
    {
      weight: 1,
      arbitrary: fc.record(
        {
          ...{ do: fc.constant('list' as const), by, userId: user, after: fc.constantFrom('A', 'a', 'b') },
          ...{
            limit: fc.integer({ min: 1, max: 2 }),
            age: fc.constantFrom(...(movesTime ? [-1, 0, 500] : [-1e9, 1e9])),
          },
        },
        { requiredKeys: ['do', 'by'] },
      ),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('cleanup' as const),
        by,
        hours: fc.constantFrom(movesTime ? 0.0003 : 1, 1),
      }),
    },
    {
      weight: movesTime ? 2 : 0,
      arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(1, 500, 1_000, 2_000) }),
    },
    { weight: reopens ? 1 : 0, arbitrary: fc.record({ do: fc.constant('reopen' as const), by }) },
  );
  return fc.array(step, { minLength: 1, maxLength: 20, size: 'max' });
}
