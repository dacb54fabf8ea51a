import { encode, type Token } from '../json.js';
import type { StandardSchema } from '../standard-schema.js';
import type { Change, CommitCondition, Committed, StateRecord } from '../storage/state-storage.js';
import type { Ttl } from './cache-options.js';
import { TAG, WHOLE } from './row-fields.js';

/** What became of a write that depends on what is there. `record`: what was there instead. */
export type Written =
  | { readonly written: true; readonly version: string; readonly answer: Committed }
  | { readonly written: false; readonly record: StateRecord | undefined };

/** What became of a whole value, and the fields that it was written as, or would have been. */
export interface Replaced {
  readonly result: Written;
  readonly fields: ReadonlyMap<string, Token>;
}

/** A write of an entry, whichever. */
export interface Write {
  readonly changes: readonly Change[];
  /** What the entry is after this, from what it is before. */
  readonly after: (before: unknown) => unknown;
  /** The changes say all of it. */
  readonly whole: boolean;
  readonly ttl: Ttl | undefined;
  readonly condition?: CommitCondition | undefined;
  readonly schema?: StandardSchema | undefined;
}

/** What every field operation asks for: that the entry, where there is one, is an object. */
export const OBJECT: CommitCondition = { fields: new Map([[WHOLE, undefined]]) };

/** That the entry has this version; `null`: that there is none. */
export function taggedAs(version: string | null): CommitCondition {
  return version === null ? { exists: false } : { fields: new Map([[TAG, encode(version)]]) };
}

export function setsOf(fields: ReadonlyMap<string, Token>): Change[] {
  return [...fields].map(([field, value]) => ({ op: 'set', field, value }));
}

/**
 * That the record is still what was read, its life too. The tag tells it from one that was deleted and made again, the
 * version from one that was given another life.
 */
export function conditionOf(record: StateRecord | undefined): CommitCondition {
  if (!record) return { exists: false };
  const { version, fields } = record;
  const tag = fields.get(TAG);
  return tag === undefined ? { version } : { version, fields: new Map([[TAG, tag]]) };
}
