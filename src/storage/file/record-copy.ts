import type { Token } from '../../json.js';
import type { StateRecord } from '../state-storage.js';
import type { Journal } from './journal.js';
import type { RecordFold } from './record-fold.js';

/** What to take along of a record. */
export interface CopyOptions {
  readonly log?: number;
  readonly fields?: readonly string[];
  readonly idempotencyKey?: string | undefined;
  readonly replies?: boolean;
}

/** A private copy of a record. */
export function copyOf(journal: Journal, fold: RecordFold, options: CopyOptions): StateRecord {
  const { log = 0, fields, idempotencyKey, replies } = options;
  const { logTotal, logDropped } = fold;
  const entries = entriesOf(journal, fold, Math.max(logDropped, logTotal - log), logTotal);
  const reply = idempotencyKey === undefined ? undefined : fold.replies.get(idempotencyKey);
  const copy = recordOf(fold, fieldsOf(fold, fields), entries, reply);
  return replies ? { ...copy, replies: new Map(fold.replies.entries()) } : copy;
}

/** The same without log entries. */
export function withoutLog(fold: RecordFold): StateRecord {
  return recordOf(fold, fieldsOf(fold, undefined), [], undefined);
}

function recordOf(fold: RecordFold, fields: Map<string, Token>, log: Token[], reply: Token | undefined): StateRecord {
  const { logTotal, logDropped, version, owner, createdAt, updatedAt, expiresAt, ownTtl } = fold;
  return { fields, log, logTotal, logDropped, version, owner, createdAt, updatedAt, expiresAt, ownTtl, reply };
}

function fieldsOf({ fields }: RecordFold, only: readonly string[] | undefined): Map<string, Token> {
  if (!only) return new Map(fields);
  const some = new Map<string, Token>();
  for (const field of only) {
    const token = fields.get(field);
    if (token !== undefined) some.set(field, token);
  }
  return some;
}

/** Log entries from one position to another: from memory, or from the file where they are older. */
export function entriesOf(journal: Journal, fold: RecordFold, start: number, end: number): Token[] {
  if (start >= end) return [];
  const held = fold.logTotal - fold.tail.length;
  return start >= held ? fold.tail.slice(start - held, end - held) : journal.entries(start, end);
}
