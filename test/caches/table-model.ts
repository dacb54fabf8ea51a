import type { Table } from '../../src/caches/table.js';
import type { StandardSchema } from '../../src/standard-schema.js';

/** A table once more, in the plainest way: what is in it at a moment. */
export interface World {
  readonly rows: ReadonlyMap<string, { readonly value: unknown; readonly endsAt: number | undefined }>;
  readonly version: number;
  readonly now: number;
}

export interface Rules {
  readonly ttl: number | 'none' | undefined;
  readonly versioned: boolean;
  readonly indexes: readonly string[] | undefined;
  readonly schema: boolean;
}

type Row = Readonly<Record<string, unknown>>;
type Ttl = number | 'none' | 'keep' | undefined;

export type Step =
  | { readonly do: 'set'; readonly key: string; readonly value: unknown; readonly ttl: Ttl; readonly fresh?: boolean }
  | { readonly do: 'patch'; readonly key: string; readonly value: Row; readonly ttl: Ttl }
  | {
      readonly do: 'setField';
      readonly key: string;
      readonly field: string;
      readonly value: unknown;
      readonly ttl: Ttl;
    }
  | { readonly do: 'increment'; readonly key: string; readonly field: string; readonly by: number; readonly ttl: Ttl }
  | { readonly do: 'append'; readonly key: string; readonly field: string; readonly value: unknown; readonly ttl: Ttl }
  | { readonly do: 'delete'; readonly key: string }
  | { readonly do: 'setTtl'; readonly key: string; readonly ttl: number | 'none' }
  | { readonly do: 'create'; readonly key: string; readonly value: Row; readonly ttl: number | undefined }
  | { readonly do: 'replaceIf'; readonly key: string; readonly value: Row; readonly held: unknown; readonly ttl: Ttl }
  | {
      readonly do: 'update';
      readonly key: string;
      readonly value: unknown;
      readonly ttl: Ttl;
      readonly meanwhile?: Step;
    }
  | { readonly do: 'getOrLoad'; readonly key: string; readonly value: unknown; readonly meanwhile?: Step }
  | { readonly do: 'find'; readonly held: unknown }
  | { readonly do: 'get'; readonly key: string }
  | { readonly do: 'deleteTable' }
  | { readonly do: 'bump' }
  | { readonly do: 'pass'; readonly ms: number };

/** The one thing that a row of a table with a schema must not hold. */
export const REFUSED = 'text';

/** Fits every row whose field `f` is not `REFUSED`. */
export const SCHEMA: StandardSchema = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) => (fits(value) ? { value } : { issues: [{ message: 'holds what is refused' }] }),
  },
};

function fits(value: unknown): boolean {
  return (value as Row | null)?.['f'] !== REFUSED;
}

export function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** As a table compares values: by what is stored of them. */
export function sameValue(a: unknown, b: unknown): boolean {
  return Object.is(a, b) || (typeof a === 'object' && JSON.stringify(a) === JSON.stringify(b));
}

export function fieldOf(value: unknown, field: string): unknown {
  return isRow(value) && Object.hasOwn(value, field) ? value[field] : undefined;
}

function withField(row: Row, field: string, value: unknown): Row {
  return { ...row, [field]: value };
}

/** What a step makes of a table, and what it answers. */
export function expected(world: World, step: Step, rules: Rules): { readonly world: World; readonly says: unknown } {
  const key = 'key' in step ? step.key : '';
  const before = world.rows.get(key);
  const fails = (says: string) => ({ world, says });
  const lives = (ttl: Ttl): number | undefined => {
    if (ttl === 'keep') return before?.endsAt;
    return ttl === 'none' || ttl === undefined ? undefined : world.now + ttl * 1000;
  };
  const put = (value: unknown, ttl: Ttl, says: unknown = 'written') => {
    if (rules.schema && !fits(value)) return fails('SCHEMA_INVALID');
    return { world: { ...world, rows: new Map(world.rows).set(key, { value, endsAt: lives(ttl) }) }, says };
  };
  const without = (): World => {
    const rows = new Map(world.rows);
    rows.delete(key);
    return { ...world, rows };
  };
  const byDefault = rules.ttl ?? 'none';
  const ofRow = (change: (row: Row) => ReturnType<typeof put>) => {
    if (before && !isRow(before.value)) return fails('WRONG_TYPE');
    return change((before?.value ?? {}) as Row);
  };
  /** Of an operation on a field. */
  const kept = (ttl: Ttl): Ttl => ttl ?? (before ? 'keep' : byDefault);
  switch (step.do) {
    case 'set':
      if (rules.schema && !fits(step.value)) return fails('SCHEMA_INVALID');
      if (step.fresh && before) return fails('CONFLICT');
      return put(step.value, step.ttl ?? byDefault);
    case 'patch':
      return ofRow((row) => put({ ...row, ...step.value }, kept(step.ttl)));
    case 'setField':
      return ofRow((row) => put(withField(row, step.field, step.value), kept(step.ttl)));
    case 'increment':
      return ofRow((row) => {
        const held = Object.hasOwn(row, step.field) ? row[step.field] : 0;
        if (typeof held !== 'number' || Object.is(held, -0)) return fails('WRONG_TYPE');
        const sum = held + step.by;
        if (!Number.isSafeInteger(sum)) return fails('INTEGER_OVERFLOW');
        return put(withField(row, step.field, sum), kept(step.ttl), sum);
      });
    case 'append':
      return ofRow((row) => {
        const held = Object.hasOwn(row, step.field) ? row[step.field] : [];
        if (!Array.isArray(held)) return fails('WRONG_TYPE');
        return put(withField(row, step.field, [...held, step.value]), kept(step.ttl));
      });
    case 'delete':
      return { world: without(), says: before !== undefined };
    case 'setTtl':
      if (!before) return { world, says: false };
      return {
        world: { ...world, rows: new Map(world.rows).set(key, { ...before, endsAt: lives(step.ttl) }) },
        says: true,
      };
    case 'create':
      if (rules.schema && !fits(step.value)) return fails('SCHEMA_INVALID');
      if (before) return { world, says: { status: 'already_exists', row: before.value } };
      return put(step.value, step.ttl ?? byDefault, { status: 'created', row: step.value });
    case 'replaceIf':
      if (rules.schema && !fits(step.value)) return fails('SCHEMA_INVALID');
      if (!before) return { world, says: { status: 'missing', row: undefined } };
      if (!Object.is(fieldOf(before.value, 'f'), step.held))
        return { world, says: { status: 'condition_not_met', row: before.value } };
      return put(step.value, step.ttl ?? 'keep', { status: 'replaced', row: step.value });
    case 'update': {
      const met = step.meanwhile ? expected(world, step.meanwhile, rules).world : world;
      return expected(met, { do: 'set', key, value: step.value, ttl: ttlOfUpdate(met, step) }, rules).says === 'written'
        ? {
            world: expected(met, { do: 'set', key, value: step.value, ttl: ttlOfUpdate(met, step) }, rules).world,
            says: step.value,
          }
        : { world: met, says: 'SCHEMA_INVALID' };
    }
    case 'getOrLoad': {
      if (before) return { world, says: before.value };
      const met = step.meanwhile ? expected(world, step.meanwhile, rules).world : world;
      // One that began before a bump is answered, and not kept.
      if (rules.schema && !fits(step.value)) return { world: met, says: 'SCHEMA_INVALID' };
      if (met.version !== world.version) return { world: met, says: step.value };
      const there = met.rows.get(key);
      if (there) return { world: met, says: there.value };
      return {
        world: expected(met, { do: 'set', key, value: step.value, ttl: undefined }, rules).world,
        says: step.value,
      };
    }
    case 'get':
      return { world, says: before?.value };
    case 'find': {
      const found = [...world.rows].filter(([, { value }]) => sameValue(fieldOf(value, 'f'), step.held));
      return { world, says: found.map(([name]) => name).sort() };
    }
    case 'deleteTable':
      return { world: { ...world, rows: new Map() }, says: world.rows.size };
    case 'bump':
      return { world: { ...world, rows: new Map(), version: world.version + 1 }, says: world.version + 1 };
    case 'pass': {
      const now = world.now + step.ms;
      const rows = new Map([...world.rows].filter(([, { endsAt }]) => endsAt === undefined || endsAt > now));
      return { world: { ...world, rows, now }, says: undefined };
    }
  }
}

function ttlOfUpdate(world: World, step: Extract<Step, { do: 'update' }>): Ttl {
  const { ttl = 'keep' } = step;
  return ttl === 'keep' && !world.rows.has(step.key) ? undefined : ttl;
}

/** Takes a step on a real table, and answers as `expected` does. */
export async function taken(table: Table, step: Step, pass: (ms: number) => Promise<void>): Promise<unknown> {
  try {
    return await answerTo(table, step, pass);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === undefined) throw error;
    return code;
  }
}

async function answerTo(table: Table, step: Step, pass: (ms: number) => Promise<void>): Promise<unknown> {
  const written = (version: unknown) => typeof version === 'string' && 'written';
  switch (step.do) {
    case 'set': {
      const version = step.fresh ? null : undefined;
      return written(await table.set(step.key, step.value, { ttl: step.ttl, version }));
    }
    case 'patch':
      return written(await table.patch(step.key, step.value, { ttl: step.ttl }));
    case 'setField':
      return written(await table.setField(step.key, step.field, step.value, { ttl: step.ttl }));
    case 'increment':
      return table.incrementField(step.key, step.field, step.by, { ttl: step.ttl });
    case 'append':
      return written(await table.appendToList(step.key, step.field, step.value, { ttl: step.ttl }));
    case 'delete':
      return table.delete(step.key);
    case 'setTtl':
      return table.setTtl(step.key, step.ttl);
    case 'create':
      return table.createIfAbsent(step.key, step.value, { ttl: step.ttl });
    case 'replaceIf':
      return table.replaceIf(step.key, step.value, { f: step.held as string }, { ttl: step.ttl });
    case 'update': {
      let calls = 0;
      const change = async () => {
        if (calls++ === 0 && step.meanwhile) await taken(table, step.meanwhile, pass);
        return step.value;
      };
      return table.update(step.key, change, { ttl: step.ttl });
    }
    case 'getOrLoad':
      return table.getOrLoad(step.key, async () => {
        if (step.meanwhile) await taken(table, step.meanwhile, pass);
        return step.value;
      });
    case 'get':
      return table.get(step.key);
    case 'find':
      return (await table.findByField('f', step.held)).map(({ key }) => key).sort();
    case 'deleteTable':
      return table.deleteAll();
    case 'bump':
      return table.bumpVersion();
    case 'pass':
      return pass(step.ms);
  }
}
