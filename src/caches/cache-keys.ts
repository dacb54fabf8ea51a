import { createHash } from 'node:crypto';
import { AgentUpError } from '../errors.js';
import { checkId, encodeName, MAX_ID_LENGTH, type RecordKey } from '../storage/keys.js';

/** The spaces of the three caches, and of what they keep beside. */
export const STATES = 'cache-states';
export const USERS = 'cache-users';
export const TABLES = 'cache-tables';

/** One entry of a cache: where it lies, and how people write it down. */
export interface EntryKey {
  readonly record: RecordKey;
  /** For logs and errors. Two entries may look the same here; their records never are. */
  readonly shown: string;
  /** What the records of the space are listed by, beside their scope. */
  readonly owner?: string;
}

/** A flow of a user. */
export function stateKey(tenantId: string, userId: string, name: string): EntryKey {
  checkName(name, 'name');
  return {
    record: { space: STATES, scope: [tenantId, userId], id: name },
    shown: `${tenantId}:state:${name}:${userId}`,
    owner: flowOwner(tenantId, name),
  };
}

/** All flows of one name in a tenant. */
export function flowOwner(tenantId: string, name: string): string {
  const text = `${encodeName(tenantId)}/${encodeName(name)}`;
  return text.length <= MAX_ID_LENGTH ? text : createHash('sha256').update(text).digest('hex');
}

/** The profile of a user, or what is kept of him under a name. */
export function userKey(tenantId: string, userId: string, name?: string): EntryKey {
  if (name !== undefined) checkName(name, 'name', MAX_ID_LENGTH - 1);
  return {
    // The profile must not meet an entry that is called the same.
    record: { space: USERS, scope: [tenantId, userId], id: name === undefined ? '_' : `_${name}` },
    shown: `${tenantId}:user:${userId}${name === undefined ? '' : `:${name}`}`,
  };
}

/** A row of a table. */
export function rowKey(tenantId: string, table: string, pk: string): EntryKey {
  checkName(table, 'table');
  checkName(pk, 'key');
  return {
    record: { space: TABLES, scope: [tenantId, table], id: pk },
    shown: `${tenantId}:df:${table}:pkid:${pk}`,
  };
}

/** Refuses what names nothing. @throws INVALID_ARGUMENT, LIMIT_EXCEEDED, naming the argument */
export function checkName(value: unknown, argument: string, max = MAX_ID_LENGTH): asserts value is string {
  checkId(value, argument);
  if (value.length <= max) return;
  throw new AgentUpError('LIMIT_EXCEEDED', `${argument} has ${value.length} characters; at most ${max} are allowed`, {
    argument,
    limit: 'idLength',
    max,
    actual: value.length,
  });
}

/** Refuses a field that a row cannot have. */
export function checkField(value: unknown): asserts value is string {
  if (typeof value !== 'string' || value === '') {
    throw new AgentUpError('INVALID_ARGUMENT', 'the name of a field is a string that is not empty', {
      argument: 'field',
    });
  }
}
