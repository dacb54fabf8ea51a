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
  const { log = 0, fields: only, idempotencyKey, replies } = options;
  const { logTotal, logDropped } = fold;
  const copy = {
    ...withoutLog(fold, only),
    log: entriesOf(journal, fold, Math.max(logDropped, logTotal - log), logTotal),
    reply: idempotencyKey === undefined ? undefined : fold.replies.get(idempotencyKey),
  };
  return replies ? { ...copy, replies: new Map(fold.replies.entries()) } : copy;
}

/** The same without log entries. */
export function withoutLog(fold: RecordFold, only?: readonly string[]): StateRecord {
  let { fields } = fold;
  if (only) {
    fields = new Map();
    for (const field of only) {
      const token = fold.fields.get(field);
      if (token !== undefined) fields.set(field, token);
    }
  } else fields = new Map(fields);
  const { logTotal, logDropped, version, owner, createdAt, updatedAt, expiresAt, ownTtl } = fold;
  return { fields, log: [], logTotal, logDropped, version, owner, createdAt, updatedAt, expiresAt, ownTtl };
}

/** Log entries from one position to another: from memory, or from the file where they are older. */
export function entriesOf(journal: Journal, fold: RecordFold, start: number, end: number): Token[] {
  if (start >= end) return [];
  const held = fold.logTotal - fold.tail.length;
  return start >= held ? fold.tail.slice(start - held, end - held) : journal.entries(start, end);
}
