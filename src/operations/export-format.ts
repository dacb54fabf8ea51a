import { AgentUpError } from '../errors.js';
import { encode, type Token } from '../json.js';
import { checkCommit } from '../storage/changes.js';
import type { Change } from '../storage/state-storage.js';
import type { RecordHead } from './whole-record.js';

/** The newest format of an export that this code writes and reads. */
export const EXPORT_VERSION = 1;

/** What a line of an export is. Times are ISO 8601. */
export type ExportLine =
  /** The first line. */
  | { readonly export: { readonly version: number; readonly at: string; readonly backend: string } }
  | { readonly record: RecordLine }
  /** Entries of the log of the record above, oldest first. */
  | { readonly log: readonly unknown[] }
  /** All of the record above is there, and comes to this. */
  | { readonly end: { readonly sha256: string } }
  /** The record above was written to while it was read: it follows once more, and the lines so far are void. */
  | { readonly again: true }
  /** The last line: nothing is missing. */
  | { readonly done: { readonly records: number; readonly sha256: string } };

interface RecordLine {
  readonly space: string;
  readonly scope: readonly string[];
  readonly id: string;
  readonly owner?: string;
  readonly created: string;
  readonly updated: string;
  readonly expires?: string;
  readonly ttl?: number | 'none';
  /** Positions of the log begin here. */
  readonly dropped?: number;
  readonly fields: Readonly<Record<string, unknown>>;
  /** What is kept for redelivered messages, by idempotency key, oldest first. */
  readonly replies?: readonly (readonly [key: string, reply: unknown])[];
}

/** The line of a record. Its tokens stand in it as they are. */
export function recordLine({ key, fields, replies, ...head }: RecordHead): string {
  const { owner, createdAt, updatedAt, expiresAt, ownTtl, logDropped } = head;
  const attributes = JSON.stringify({
    ...key,
    owner,
    created: iso(createdAt),
    updated: iso(updatedAt),
    expires: expiresAt === undefined ? undefined : iso(expiresAt),
    ttl: ownTtl,
    dropped: logDropped === 0 ? undefined : logDropped,
  });
  const members = [...fields].map(([field, token]) => `${JSON.stringify(field)}:${token}`);
  const pairs = [...(replies ?? [])].map(([name, token]) => `[${JSON.stringify(name)},${token}]`);
  const kept = pairs.length > 0 ? `,"replies":[${pairs.join(',')}]` : '';
  return `{"record":${attributes.slice(0, -1)},"fields":{${members.join(',')}}${kept}}}`;
}

export function logLine(entries: readonly Token[]): string {
  return `{"log":[${entries.join(',')}]}`;
}

/** The record behind its line. @throws what a bad key or value is refused with */
export function headOfLine(line: RecordLine): RecordHead {
  const { space, scope, id, owner, created, updated, expires, ttl, dropped = 0, fields, replies = [] } = line;
  const key = { space, scope, id };
  if (!Array.isArray(scope)) throw new AgentUpError('INVALID_ARGUMENT', 'scope is no list', { argument: 'scope' });
  const carried = {
    createdAt: moment(created),
    updatedAt: moment(updated),
    expiresAt: expires === undefined ? undefined : moment(expires),
    ownTtl: ttl,
    logDropped: dropped,
    replies: new Map(replies.map(([name, reply]) => [name, encode(reply)])),
  };
  const tokens = new Map(Object.entries(fields).map(([field, value]) => [field, encode(value)]));
  // All of it before the first write, which may be of a page before its last.
  const sets = [...tokens].map(([field, value]): Change => ({ op: 'set', field, value }));
  checkCommit(key, [{ op: 'clearLog' }, { op: 'owner', owner }, ...sets], { carried });
  return { key, owner, ...carried, fields: tokens };
}

/** What is wrong with an export, and where. */
export function exportInvalid(message: string, line: number, cause?: unknown): AgentUpError {
  return new AgentUpError('EXPORT_INVALID', `line ${line}: ${message}`, {
    line,
    fix:
      line === 1
        ? 'export again; nothing has been imported'
        : 'export again; what is above this line has been imported, and an import of the whole leaves it alone',
    ...(cause !== undefined && { cause }),
  });
}

function iso(epochMs: number): string {
  return new Date(epochMs).toISOString();
}

function moment(text: unknown): number {
  const epoch = typeof text === 'string' ? Date.parse(text) : Number.NaN;
  if (!Number.isFinite(epoch)) {
    throw new AgentUpError('INVALID_ARGUMENT', `${JSON.stringify(text)} is not a moment`, { argument: 'created' });
  }
  return epoch;
}
