import fc from 'fast-check';
import type { ModelChange, ModelOptions } from './plain-model.js';

/** Any UTF-16 text, lone surrogates included. */
export const anyText: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)) }),
  fc.constantFrom('', '__proto__', 'constructor', 'toJSON', '1', 'null', '-0', '\u2028', '\ud800', '\udc00\ud800'),
);

/** Any value that can be stored. */
export const anyJson: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    anyText,
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.maxSafeInteger(),
    fc.constantFrom(null, true, false, 0, -0, 1e21, 5e-324),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.array(fc.tuple(anyText, tie('value')), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
  ),
})).value;

/** Any text that a key can be made of, with a liking for what file systems and patterns take for something. */
export const anyName: fc.Arbitrary<string> = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 4 }),
      fc.constantFrom(
        'a',
        'A',
        'é',
        'e\u0301',
        '/',
        '..',
        '.',
        ':',
        '%',
        '%2f',
        '%25',
        '*',
        '[',
        '\0',
        '\\',
        '~',
        '😀',
      ),
    ),
    { minLength: 1, maxLength: 8 },
  )
  .map((parts) => parts.join(''));

/** The records that the sequences work on; close enough to each other to be mixed up. */
export const KEYS: readonly { readonly scope: readonly string[]; readonly id: string }[] = [
  { scope: [], id: 'a' },
  { scope: [], id: 'A' },
  { scope: ['t'], id: 'a' },
  { scope: ['t'], id: 'a:b/*' },
];

/** The idempotency keys that the sequences use. */
export const WORKS: readonly string[] = ['m', 'M', '#1', '__proto__'];

const field = fc.constantFrom('a', 'b', 'c', '__proto__');
const value = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom<unknown>(0, 1, -0, 1.5, '1', null, [], {}, [1], Number.MAX_SAFE_INTEGER) },
  { weight: 1, arbitrary: anyJson },
);
const change: fc.Arbitrary<ModelChange> = fc.oneof(
  fc.record({ op: fc.constant('set' as const), field, value }),
  fc.record({ op: fc.constant('remove' as const), field }),
  fc.record({ op: fc.constant('increment' as const), field, by: fc.constantFrom(1, -1, 0, 2 ** 52) }),
  fc.record({ op: fc.constant('append' as const), field, item: value }),
  fc.record({ op: fc.constant('log' as const), entry: value }),
  fc.record({ op: fc.constant('log' as const), entry: value }),
  fc.constant({ op: 'clearLog' as const }),
  fc.constant({ op: 'clearFields' as const }),
  fc.record({ op: fc.constant('owner' as const), owner: fc.constantFrom(undefined, 'ann', 'Ann') }),
  fc.constant({ op: 'touch' as const }),
);

/** One call, or time passing, or closing and opening again. `key` is an index into `KEYS`. */
export type Step =
  | { do: 'commit'; key: number; changes: ModelChange[]; options: ModelOptions; named: boolean }
  | { do: 'resend'; key: number }
  | { do: 'begin'; key: number; token: string; leaseMs: number; log: number; idempotencyKey?: string }
  | { do: 'readLog'; key: number; limit: number; before: number }
  | { do: 'delete'; key: number }
  | { do: 'list'; scope?: string[]; prefix?: string; owner?: string; age?: number }
  | { do: 'sweep'; scope?: string[]; age: number }
  | { do: 'advance'; ms: number }
  | { do: 'reopen' };

/**
 * Sequences of steps. Where time is real, nothing expires in them, and only one asks for leases: the place of who was
 * refused lapses when it likes.
 */
export function sequences(able: { movesTime: boolean; reopens: boolean }): fc.Arbitrary<Step[]> {
  const { movesTime, reopens } = able;
  // Mostly one record and one token, so that calls meet.
  const key = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat(KEYS.length - 1) });
  const token = movesTime ? fc.constantFrom('x', 'x', 'x', 'y', 'z') : fc.constant('x');
  const seconds = fc.constantFrom<number | 'none'>(...(movesTime ? [1, 2, 10] : [1_000, 5_000]), 'none');
  const leaseMs = movesTime ? fc.constantFrom(100, 1_000, 60_000) : fc.constant(60_000);
  const age = movesTime ? fc.constantFrom(-1, 0, 500, 1_500) : fc.constantFrom(-1e9, 1e9);
  const scope = fc.constantFrom<string[]>([], ['t'], ['none']);
  const lease = fc.oneof(fc.record({ token }), fc.record({ token, keepMs: leaseMs }));
  const expiry = fc.oneof(fc.record({ set: seconds }), fc.record({ renew: seconds }));
  const expected = fc.tuple(field, fc.option(value, { nil: undefined }));
  const condition = fc.oneof(
    fc.record({ exists: fc.boolean() }),
    fc.record({ current: fc.boolean() }),
    fc.record({ fields: fc.array(expected, { minLength: 1, maxLength: 1 }) }),
    fc.record({
      exists: fc.boolean(),
      current: fc.boolean(),
      fields: fc.uniqueArray(expected, { maxLength: 2, selector: ([name]) => name }),
    }),
  );
  const idempotency = fc.record({ key: fc.constantFrom(...WORKS), reply: value, keep: fc.integer({ min: 1, max: 3 }) });
  const options: fc.Arbitrary<ModelOptions> = fc.oneof(
    fc.record({ lease }),
    fc.record({ expiry }),
    fc.record({ condition }),
    fc.record({ logMax: fc.nat(4) }),
    fc.record({ maxFields: fc.nat(4) }),
    fc.record({ idempotency }),
    fc.record({ idempotency, lease, condition, expiry, logMax: fc.nat(4), maxFields: fc.nat(4) }, { requiredKeys: [] }),
  );
  const commit = (given: fc.Arbitrary<ModelOptions>): fc.Arbitrary<Step> =>
    fc.record({
      do: fc.constant('commit' as const),
      key,
      changes: fc.array(change, { maxLength: 4 }),
      options: given,
      named: fc.boolean(),
    });
  const step = fc.oneof<fc.WeightedArbitrary<Step>[]>(
    { weight: 6, arbitrary: commit(fc.constant({})) },
    { weight: 12, arbitrary: commit(options) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('resend' as const), key }) },
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('begin' as const),
        key,
        token,
        leaseMs,
        log: fc.nat(3),
        idempotencyKey: fc.constantFrom(...WORKS),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('readLog' as const), key, limit: fc.nat(3), before: fc.nat(9) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), key }) },
    {
      weight: 4,
      arbitrary: fc.record(
        {
          do: fc.constant('list' as const),
          scope,
          prefix: fc.constantFrom('', 'a', 'a:', 'A', '*'),
          owner: fc.constantFrom('ann', 'Ann'),
          age,
        },
        { requiredKeys: ['do'] },
      ),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('sweep' as const), scope, age }, { requiredKeys: ['do', 'age'] }),
    },
    // Less than a minute in all: for so long a commit id is remembered.
    {
      weight: movesTime ? 3 : 0,
      arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(1, 150, 1_000) }),
    },
    { weight: reopens ? 1 : 0, arbitrary: fc.constant({ do: 'reopen' as const }) },
  );
  return fc.array(step, { minLength: 1, maxLength: 40, size: 'max' });
}
