import fc from 'fast-check';
import type { ModelCarried, ModelChange, ModelOptions, ModelQuery } from './plain-model.js';

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

interface ListStep extends Omit<ModelQuery, 'scope' | 'updatedBefore'> {
  do: 'list';
  scope?: string[];
  age?: number;
}

/** Options of which what depends on the moment is worked out when the commit is sent. */
export interface DrawnOptions extends Omit<ModelOptions, 'condition' | 'carried'> {
  /** `current`: whether the version is the present one. */
  condition?: { exists?: boolean; current?: boolean; owner?: string | null; fields?: [string, unknown][] | undefined };
  /** Times are milliseconds from now on. */
  carried?: ModelCarried;
}

/**
 * One call, or time passing, or closing and opening again. `key` is an index into `KEYS`; `by` says which of the
 * instances over the one store is called.
 */
export type Step = { by: number } & (
  | { do: 'commit'; key: number; changes: ModelChange[]; options: DrawnOptions; named: boolean }
  | { do: 'resend'; key: number; of: number }
  | { do: 'begin'; key: number; token: string; leaseMs: number; log: number; idempotencyKey?: string }
  | { do: 'read'; key: number; log: number; fields?: string[]; idempotencyKey?: string; replies?: boolean }
  | { do: 'readLog'; key: number; limit?: number; before?: number }
  | { do: 'delete'; key: number }
  | ListStep
  | { do: 'sweep'; scope?: string[]; age: number }
  | { do: 'advance'; ms: number }
  | { do: 'reopen' }
);

/** What a storage lets a test do. */
export interface Ability {
  /** Time stands still until it is moved. Elsewhere it is real, nothing expires, and leases last. */
  movesTime: boolean;
  reopens: boolean;
  /** How many instances work on the one store. */
  instances: number;
}

/** Sequences of steps. */
export function sequences({ movesTime, reopens, instances }: Ability): fc.Arbitrary<Step[]> {
  // Mostly one record and one token, so that calls meet.
  const key = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat(KEYS.length - 1) });
  const by = fc.nat(instances - 1);
  const token = fc.constantFrom('x', 'x', 'x', 'y', 'z');
  const seconds = fc.constantFrom<number | 'none'>(...(movesTime ? [1, 2, 10] : [1_000, 5_000]), 'none');
  const leaseMs = movesTime ? fc.constantFrom(100, 1_000, 60_000) : fc.constant(60_000);
  const age = movesTime ? fc.constantFrom(-1, 0, 500, 1_500) : fc.constantFrom(-1e9, 1e9);
  const scope = fc.constantFrom<string[]>([], ['t'], ['none']);
  const idempotencyKey = fc.constantFrom(...WORKS);
  const next = fc.record(
    { token: fc.constantFrom('x', 'y', 'z'), leaseMs, log: fc.nat(3), idempotencyKey },
    { requiredKeys: ['token', 'leaseMs', 'log'] },
  );
  const lease = fc.oneof(
    fc.record({ token }),
    fc.record({ token, next }),
    fc.record({ token, keepMs: leaseMs }),
    fc.record({ token, keepMs: leaseMs, next }),
  );
  const expiry = fc.oneof(fc.record({ set: seconds }), fc.record({ renew: seconds }));
  const carried = fc.record(
    {
      createdAt: fc.constantFrom(-9e6, -100_000, -1),
      updatedAt: fc.constantFrom(-8e6, -90_000, -1, 0),
      expiresAt: fc.constantFrom(...(movesTime ? [-1, 0, 1, 1_000, 9e6] : [-1, 9e6]), undefined),
      ownTtl: fc.oneof(seconds, fc.constant(undefined)),
      logDropped: fc.nat(3),
      replies: fc.uniqueArray(fc.tuple(idempotencyKey, value), { maxLength: 3, selector: ([name]) => name }),
    },
    { requiredKeys: ['createdAt', 'updatedAt', 'expiresAt', 'ownTtl'] },
  );
  const expected = fc.tuple(field, fc.option(value, { nil: undefined }));
  const condition = fc.oneof(
    fc.record({ exists: fc.boolean() }),
    fc.record({ current: fc.boolean() }),
    fc.record({ owner: fc.constantFrom(null, 'ann', 'Ann') }),
    fc.record({ fields: fc.array(expected, { minLength: 1, maxLength: 1 }) }),
    fc.record({
      exists: fc.boolean(),
      current: fc.boolean(),
      fields: fc.uniqueArray(expected, { maxLength: 2, selector: ([name]) => name }),
    }),
  );
  const idempotency = fc.record({ key: idempotencyKey, reply: value, keep: fc.integer({ min: 1, max: 3 }) });
  const options: fc.Arbitrary<DrawnOptions> = fc.oneof(
    fc.record({ lease }),
    fc.record({ expiry }),
    fc.record({ condition }),
    fc.record({ logMax: fc.nat(4) }),
    fc.record({ maxFields: fc.nat(4) }),
    fc.record({ idempotency }),
    fc.record({ carried, lease, condition, logMax: fc.nat(4) }, { requiredKeys: ['carried'] }),
    fc.record({ idempotency, lease, condition, expiry, logMax: fc.nat(4), maxFields: fc.nat(4) }, { requiredKeys: [] }),
  );
  const commit = (given: fc.Arbitrary<DrawnOptions>) =>
    fc.record({
      ...{ do: fc.constant('commit' as const), by, key },
      ...{ changes: fc.array(change, { maxLength: 4 }), options: given, named: fc.boolean() },
    });
  const step = fc.oneof<fc.WeightedArbitrary<Step>[]>(
    { weight: 6, arbitrary: commit(fc.constant({})) },
    { weight: 12, arbitrary: commit(options) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('resend' as const), by, key, of: fc.nat(2) }) },
    {
      weight: 6,
      arbitrary: fc.record(
        { do: fc.constant('begin' as const), by, key, token, leaseMs, log: fc.nat(3), idempotencyKey },
        { requiredKeys: ['do', 'by', 'key', 'token', 'leaseMs', 'log'] },
      ),
    },
    {
      weight: 1,
      arbitrary: fc.record(
        {
          ...{ do: fc.constant('read' as const), by, key, log: fc.nat(3), idempotencyKey, replies: fc.boolean() },
          fields: fc.uniqueArray(field, { maxLength: 2 }),
        },
        { requiredKeys: ['do', 'by', 'key', 'log'] },
      ),
    },
    {
      weight: 2,
      arbitrary: fc.record(
        { do: fc.constant('readLog' as const), by, key, limit: fc.nat(3), before: fc.nat(9) },
        { requiredKeys: ['do', 'by', 'key'] },
      ),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), by, key }) },
    {
      weight: 4,
      arbitrary: fc.record(
        {
          ...{ do: fc.constant('list' as const), by, scope, age },
          ...{ prefix: fc.constantFrom('', 'a', 'a:', 'A', '*'), owner: fc.constantFrom('ann', 'Ann') },
          ...{ after: fc.constantFrom('A', 'a', 'a:', 'zz'), limit: fc.integer({ min: 1, max: 2 }) },
          contents: fc.boolean(),
        },
        { requiredKeys: ['do', 'by'] },
      ),
    },
    {
      weight: 1,
      arbitrary: fc.record(
        { do: fc.constant('sweep' as const), by, scope, age },
        { requiredKeys: ['do', 'by', 'age'] },
      ),
    },
    // Less than a minute in all: for so long a commit id is remembered.
    {
      weight: movesTime ? 3 : 0,
      arbitrary: fc.record({ do: fc.constant('advance' as const), by, ms: fc.constantFrom(1, 150, 1_000) }),
    },
    { weight: reopens ? 1 : 0, arbitrary: fc.record({ do: fc.constant('reopen' as const), by }) },
  );
  return fc.array(step, { minLength: 1, maxLength: 40, size: 'max' });
}
