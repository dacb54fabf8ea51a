import assert from 'node:assert/strict';
import type { AgentUpError, ErrorCode } from '../errors.js';
import type { RecordKey } from '../storage/keys.js';
import type {
  Change,
  CommitOptions,
  Committed,
  ListQuery,
  LogOptions,
  LogPage,
  Refused,
  StateRecord,
  StateStorage,
} from '../storage/state-storage.js';

/** Commits, and fails where the condition was not met. */
export async function commit(
  storage: StateStorage,
  key: RecordKey,
  changes: readonly Change[],
  options?: CommitOptions,
): Promise<Committed> {
  const answer = await storage.commit(key, changes, options);
  assert.ok(answer.committed, 'the commit was refused');
  return answer;
}

/** Commits, and fails where the condition was met after all. */
export async function refused(
  storage: StateStorage,
  key: RecordKey,
  changes: readonly Change[],
  options: CommitOptions,
): Promise<Refused> {
  const answer = await storage.commit(key, changes, options);
  assert.ok(!answer.committed, 'the commit was applied although its condition does not hold');
  return answer;
}

/**
 * The record, which must be there. A copy, so that it stays what it was also where a backend shares its own; and not by
 * `structuredClone`: under jest that makes arrays of another realm, which equal none of ours.
 */
export async function found(storage: StateStorage, key: RecordKey, log = 0): Promise<StateRecord> {
  const record = await storage.read(key, { log });
  assert.ok(record, `no record ${JSON.stringify(key.id)}`);
  return { ...record, fields: new Map(record.fields), log: [...record.log] };
}

/** A stretch of the log. Copied, as native drivers under jest make arrays of another realm. */
export async function pageOf(storage: StateStorage, key: RecordKey, options?: LogOptions): Promise<LogPage> {
  const { entries, start, total, dropped } = await storage.readLog(key, options);
  return { entries: [...entries], start, total, dropped };
}

/** Takes the lease, which must be free. */
export async function take(storage: StateStorage, key: RecordKey, token: string, leaseMs = 60_000): Promise<void> {
  const begun = await storage.begin(key, { token, leaseMs });
  assert.equal(begun.busy, false, `${token} was refused the lease`);
}

/** Asks for the lease and must be refused. Returns when to ask again. */
export async function refusedLease(
  storage: StateStorage,
  key: RecordKey,
  token: string,
  leaseMs = 60_000,
): Promise<number> {
  const begun = await storage.begin(key, { token, leaseMs });
  assert.ok(begun.busy, `${token} got a lease that is not free`);
  return begun.retryAfterMs;
}

/** The ids of a listing, in its order. */
export async function idsOf(storage: StateStorage, query: ListQuery): Promise<string[]> {
  const ids: string[] = [];
  for await (const info of storage.list(query)) ids.push(info.key.id);
  return ids;
}

/** The call must fail with this code. */
export async function fails(code: ErrorCode, call: () => Promise<unknown>): Promise<void> {
  await assert.rejects(call, (error: AgentUpError) => {
    assert.equal(error.code, code, `failed with ${error.code ?? error}, not with ${code}`);
    return true;
  });
}

/** Fields as a plain list in the order of their names, to compare. */
export function fieldsOf(record: StateRecord | undefined): [string, string][] {
  return [...(record?.fields ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** A `set` for each entry. */
export function sets(values: Record<string, string>): Change[] {
  return Object.entries(values).map(([field, value]) => ({ op: 'set', field, value }));
}

/** A `log` for each entry. */
export function logs(...entries: string[]): Change[] {
  return entries.map((entry) => ({ op: 'log', entry }));
}
