import type { Token } from '../json.js';
import { type Plan, plan, writes } from './changes.js';
import type { Change, CommitOptions, Committed, LogOptions } from './state-storage.js';

/** What a storage knows of a record by itself, beside fields, log and replies. */
export interface RecordAttributes {
  readonly version: number;
  readonly owner: string | undefined;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly expiresAt: number | undefined;
  /** From an expiry `set`: wins over a later `renew`. */
  readonly ownTtl: number | 'none' | undefined;
  readonly logTotal: number;
  readonly logDropped: number;
}

/** What a commit comes to, worked out before anything is written. */
export interface Outcome {
  /** False: the record stays as it is, only the lease is to be settled. */
  readonly writes: boolean;
  /** What to do to fields and log. The last entry of `plan.log` has the position `attributes.logTotal - 1`. */
  readonly plan: Plan;
  /** The attributes of the record afterwards. Log entries below `attributes.logDropped` are to go. */
  readonly attributes: RecordAttributes;
  /** `Carried.replies`: take the place of all that the record keeps. */
  readonly replies?: ReadonlyMap<string, Token> | undefined;
  readonly answer: Committed;
}

const NO_FIELDS: ReadonlyMap<string, Token> = new Map();

/**
 * Works out a commit, for backends that fold changes themselves: to be called when commit id, lease, idempotency key
 * and condition have been looked at. `before` is the record, `undefined` where there is none or it has expired.
 * @throws WRONG_TYPE, INTEGER_OVERFLOW, LIMIT_EXCEEDED, with nothing changed
 */
export function outcomeOf(
  before: (RecordAttributes & { readonly fields: ReadonlyMap<string, Token> }) | undefined,
  changes: readonly Change[],
  options: CommitOptions,
  now: number,
): Outcome {
  const planned = plan(before?.fields ?? NO_FIELDS, changes, options.maxFields);
  const isWritten = writes(changes, options);
  const attributes = isWritten ? attributesAfter(before, planned, options, now) : (before ?? attributesOfNone(now));
  const { version, updatedAt, expiresAt, logTotal } = attributes;
  const answer: Committed = {
    committed: true,
    version,
    updatedAt,
    expiresAt,
    incremented: planned.incremented,
    logTotal,
  };
  return { writes: isWritten, plan: planned, attributes, replies: options.carried?.replies, answer };
}

/** Does to the fields of a record what was planned for them. */
export function applyFields(fields: Map<string, Token>, plan: Plan): void {
  if (plan.clearFields) fields.clear();
  for (const [field, token] of plan.fields) {
    if (token === undefined) fields.delete(field);
    else fields.set(field, token);
  }
}

/** Where in the log a page begins and ends (exclusively), as positions. */
export function logRange(
  { logTotal, logDropped }: Pick<RecordAttributes, 'logTotal' | 'logDropped'>,
  { limit, before }: LogOptions,
): { start: number; end: number } {
  const end = Math.max(logDropped, Math.min(logTotal, before ?? logTotal));
  return { start: Math.max(logDropped, end - (limit ?? end)), end };
}

function attributesOfNone(now: number): RecordAttributes {
  return {
    version: 0,
    owner: undefined,
    createdAt: now,
    updatedAt: now,
    expiresAt: undefined,
    ownTtl: undefined,
    logTotal: 0,
    logDropped: 0,
  };
}

function attributesAfter(
  before: RecordAttributes | undefined,
  { owner, clearLog, log }: Plan,
  { expiry, logMax, carried }: CommitOptions,
  now: number,
): RecordAttributes {
  const begins = carried?.logDropped ?? 0;
  const logTotal = (clearLog ? begins : (before?.logTotal ?? 0)) + log.length;
  const dropped = clearLog ? begins : (before?.logDropped ?? 0);
  let expiresAt = before?.expiresAt;
  let ownTtl = before?.ownTtl;
  if (expiry) {
    if ('set' in expiry) ownTtl = expiry.set;
    const ttl = 'set' in expiry ? expiry.set : (ownTtl ?? expiry.renew);
    expiresAt = ttl === 'none' ? undefined : now + ttl * 1000;
  }
  return {
    version: (before?.version ?? 0) + 1,
    owner: owner ? owner.value : before?.owner,
    createdAt: carried?.createdAt ?? before?.createdAt ?? now,
    updatedAt: carried?.updatedAt ?? now,
    expiresAt: carried ? carried.expiresAt : expiresAt,
    ownTtl: carried ? carried.ownTtl : ownTtl,
    logTotal,
    logDropped: logMax === undefined ? dropped : Math.max(dropped, logTotal - logMax),
  };
}

/** The answer of a commit as text, for backends that keep it under the commit's id. */
export function answerText({ incremented, ...answer }: Committed): string {
  return JSON.stringify({ ...answer, incremented: [...incremented] });
}

/** The answer behind `answerText`. */
export function answerOfText(text: string): Committed {
  const { version, updatedAt, expiresAt, incremented, logTotal } = JSON.parse(text) as Kept;
  return { committed: true, version, updatedAt, expiresAt, incremented: new Map(incremented), logTotal };
}

type Kept = Omit<Committed, 'incremented'> & { readonly incremented: [field: string, sum: number][] };
