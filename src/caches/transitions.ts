import { AgentUpError } from '../errors.js';
import { encode, type Token } from '../json.js';
import type { CacheEntry } from './cache-entry.js';
import { checkField } from './cache-keys.js';
import type { WriteOptions } from './cache-options.js';
import { fieldName, isRow } from './row-fields.js';

/** What became of a row that was to be made. `row`: the one that is there. */
export interface CreateResult<Row> {
  readonly status: 'created' | 'already_exists';
  readonly row: Row;
}

/** What became of a row that was to be replaced. `row`: the one that is there now. */
export type ReplaceResult<Row> =
  | { readonly status: 'replaced' | 'condition_not_met'; readonly row: Row }
  | { readonly status: 'missing'; readonly row: undefined };

/** Fields and what they must hold: texts, numbers, booleans, null; `1`, `"1"` and `true` are three values. */
export type Expected = Readonly<Record<string, string | number | boolean | null>>;

/** Writes a row if there is none. Of many at once one does. */
export async function createIfAbsent<Row>(
  entry: CacheEntry,
  row: Readonly<Record<string, unknown>>,
  options: WriteOptions = {},
): Promise<CreateResult<Row>> {
  checkRow(entry, row);
  const { result, fields } = await entry.replace(row, { ...options, condition: { exists: false } });
  if (result.written) return { status: 'created', row: await rowOf(entry, fields) };
  return { status: 'already_exists', row: await rowOf(entry, result.record?.fields) };
}

/** Replaces a row if it is as expected. Of many at once one does; its life stays unless `ttl` says otherwise. */
export async function replaceIf<Row>(
  entry: CacheEntry,
  row: Readonly<Record<string, unknown>>,
  expected: Expected,
  { ttl = 'keep' }: WriteOptions = {},
): Promise<ReplaceResult<Row>> {
  checkRow(entry, row);
  const condition = { exists: true, fields: new Map(conditionOf(entry, expected)) };
  const { result, fields } = await entry.replace(row, { ttl, condition });
  if (result.written) return { status: 'replaced', row: await rowOf(entry, fields) };
  if (!result.record) return { status: 'missing', row: undefined };
  return { status: 'condition_not_met', row: await rowOf(entry, result.record.fields) };
}

async function rowOf<Row>(entry: CacheEntry, fields: ReadonlyMap<string, Token> | undefined): Promise<Row> {
  return (fields && (await entry.valueOf(fields))) as Row;
}

function conditionOf(entry: CacheEntry, expected: Expected): [string, string][] {
  if (!isRow(expected) || Object.keys(expected).length === 0) {
    throw invalid(entry, 'expected', 'the condition names at least one field');
  }
  return Object.entries(expected).map(([field, value]) => {
    checkField(field);
    if (value === undefined || (typeof value === 'object' && value !== null)) {
      throw invalid(entry, 'expected', `${field}: a condition compares texts, numbers, booleans and null`);
    }
    return [fieldName(field), encode(value)];
  });
}

function checkRow(entry: CacheEntry, row: unknown): void {
  if (!isRow(row) || Object.keys(row).length === 0) throw invalid(entry, 'row', 'the row has at least one field');
}

function invalid({ key }: CacheEntry, argument: string, message: string): AgentUpError {
  return new AgentUpError('INVALID_ARGUMENT', `${key.shown}: ${message}`, { argument });
}
