import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { encode } from '../../../src/json.js';
import { writes } from '../../../src/storage/changes.js';
import type { RecordKey } from '../../../src/storage/keys.js';
import { MemoryStorage } from '../../../src/storage/memory-storage.js';
import type { Change, CommitOptions, StateRecord, StateStorage } from '../../../src/storage/state-storage.js';
import { ValkeyStorage } from '../../../src/storage/valkey/valkey-storage.js';
import { collect, freshPrefix, valkeyUrl } from './support.js';

let storage: ValkeyStorage;
beforeAll(() => {
  storage = new ValkeyStorage({ url: valkeyUrl(), keyPrefix: freshPrefix() });
});
afterAll(() => storage.close());

const field = fc.constantFrom('a', 'b', 'v:x', '__proto__', 'ключ 🔑', 'line\nbreak', ' ');
const token = fc.oneof(
  fc.constantFrom('0', '7', '-3', '"7"', '1.5', '-0', '[]', '[1]', '{}', '9007199254740991', '9007199254740992', '""'),
  fc.jsonValue().map((value) => encode(value)),
);
const by = fc.oneof(
  fc.integer({ min: -5, max: 5 }),
  fc.constantFrom(Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER, -0),
);
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ op: fc.constant('set' as const), field, value: token }),
  fc.record({ op: fc.constant('remove' as const), field }),
  fc.record({ op: fc.constant('increment' as const), field, by }),
  fc.record({ op: fc.constant('append' as const), field, item: token }),
  fc.record({ op: fc.constant('log' as const), entry: token }),
  fc.record({ op: fc.constant('log' as const), entry: token }),
  fc.constant<Change>({ op: 'clearLog' }),
  fc.constant<Change>({ op: 'clearFields' }),
  fc.constant<Change>({ op: 'touch' }),
  fc.record({ op: fc.constant('owner' as const), owner: fc.constantFrom(undefined, 'U1', 'ü 2') }),
);
const options: fc.Arbitrary<CommitOptions> = fc.record(
  {
    condition: fc.record(
      {
        exists: fc.boolean(),
        version: fc.integer({ min: 0, max: 4 }),
        fields: fc
          .array(fc.tuple(field, fc.option(token, { nil: undefined })), { maxLength: 2 })
          .map((all) => new Map(all)),
      },
      { requiredKeys: [] },
    ),
    expiry: fc.oneof(
      fc.record({ set: fc.constantFrom<number | 'none'>(100, 'none') }),
      fc.record({ renew: fc.constantFrom<number | 'none'>(1_000, 'none') }),
    ),
    logMax: fc.integer({ min: 0, max: 4 }),
    maxFields: fc.integer({ min: 0, max: 5 }),
  },
  { requiredKeys: [] },
);
type Step =
  | { do: 'commit'; changes: Change[]; options: CommitOptions; twice: boolean }
  | { do: 'begin'; token: string; log: number }
  | { do: 'leased'; changes: Change[]; token: string; keep: boolean; twice: boolean }
  | { do: 'delete' }
  | { do: 'log'; limit: number; before: number }
  | { do: 'list' };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('commit' as const),
      changes: fc.array(change, { maxLength: 6 }),
      options,
      twice: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('begin' as const), token: fc.constantFrom('T 1', 'T2'), log: fc.nat(3) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('leased' as const),
      changes: fc.array(change, { maxLength: 3 }),
      token: fc.constantFrom('T 1', 'T2'),
      keep: fc.boolean(),
      twice: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'delete' as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('log' as const), limit: fc.nat(4), before: fc.nat(8) }) },
  { weight: 1, arbitrary: fc.constant({ do: 'list' as const }) },
);

/** What must be the same everywhere; times differ. */
function shape(record: StateRecord | undefined): unknown {
  if (!record) return record;
  const { createdAt, updatedAt, expiresAt, fields, ...rest } = record;
  const life = expiresAt === undefined ? 'none' : Math.round((expiresAt - updatedAt) / 1000);
  return { ...rest, life, fields: Object.fromEntries([...fields].sort()), ordered: createdAt <= updatedAt };
}

let ids = 0;

async function apply(target: StateStorage, key: RecordKey, action: Step): Promise<unknown> {
  try {
    switch (action.do) {
      case 'commit':
      case 'leased': {
        const given =
          action.do === 'commit'
            ? action.options
            : { lease: { token: action.token, ...(action.keep && { keepMs: 60_000 }) } };
        // As somebody does whose first answer was lost. What writes nothing may leave nothing to keep an id with.
        const twice = action.twice && writes(action.changes, given);
        const sent = twice ? { ...given, commitId: `id ${ids++}` } : given;
        if (twice) await target.commit(key, action.changes, sent);
        const answer = await target.commit(key, action.changes, sent);
        if (!answer.committed) return { refused: shape(answer.record) };
        return { version: answer.version, sums: [...answer.incremented], total: answer.logTotal };
      }
      case 'begin': {
        const begun = await target.begin(key, { token: action.token, leaseMs: 60_000, log: action.log });
        return begun.busy ? 'busy' : shape(begun.record);
      }
      case 'delete':
        return await target.delete(key);
      case 'log':
        return await target.readLog(key, action);
      case 'list':
        return (await collect(target.list({ space: key.space, scope: key.scope }))).map((info) => [
          info.key,
          info.owner,
        ]);
    }
  } catch (error) {
    return (error as { code: string }).code;
  }
}

it('does what the memory backend does, whatever is asked of it', async () => {
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
      const model = new MemoryStorage();
      const key = { space: 'model', scope: [`run ${run++}`], id: 'Ünï/..*' };
      for (const action of steps) {
        expect(await apply(storage, key, action)).toEqual(await apply(model, key, action));
        expect(shape(await storage.read(key, { log: 3 }))).toEqual(shape(await model.read(key, { log: 3 })));
      }
    }),
    { numRuns: 150 },
  );
});
