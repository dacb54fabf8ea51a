import { AgentUpError } from '../errors.js';
import { appendToken, integerOf, type Token } from '../json.js';
import { checkId, checkSpace, type RecordKey } from './keys.js';
import { plainField, shownField } from './shown-field.js';
import type {
  BeginOptions,
  Carried,
  Change,
  CommitCondition,
  CommitOptions,
  Expiry,
  StateRecord,
} from './state-storage.js';

/** Longest time to live: 100 years, in seconds. */
export const MAX_TTL = 3_153_600_000;

/** A wrong value in a sentence: a text in quotes, or `"5"` would look like what is wanted. */
export function shownValue(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

/** Refuses a time to live that is not a whole number of seconds from 1 on. */
export function checkTtl(ttl: unknown, argument = 'ttl'): asserts ttl is number | 'none' {
  if (ttl === 'none') return;
  if (typeof ttl !== 'number' || !Number.isInteger(ttl) || ttl < 1 || ttl > MAX_TTL) {
    const message = `${argument} is ${shownValue(ttl)}; a whole number of seconds from 1 on, or 'none'`;
    throw new AgentUpError('TTL_INVALID', message, { argument });
  }
}

/** Seconds that an expiry asks for, before a record's own ttl is considered. */
export function expirySeconds(expiry: Expiry): number | 'none' {
  return 'set' in expiry ? expiry.set : expiry.renew;
}

/** Refuses a key that no backend could hold. */
export function checkKey(key: RecordKey): void {
  checkSpace(key.space);
  checkId(key.id, 'id');
  for (const part of key.scope) checkId(part, 'scope');
}

/** Refuses bad arguments of `begin`. */
export function checkBegin(key: RecordKey, { token, leaseMs, log = 0, idempotencyKey }: BeginOptions): void {
  checkKey(key);
  checkId(token, 'token');
  if (idempotencyKey !== undefined) checkId(idempotencyKey, 'idempotencyKey');
  checkCount(leaseMs, 'leaseMs', 1);
  checkCount(log, 'log', 0);
}

/** Refuses a number that is not whole or below `min`. */
export function checkCount(value: unknown, argument: string, min: number): void {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min) {
    throw new AgentUpError('INVALID_ARGUMENT', `${argument} is ${shownValue(value)}; a whole number from ${min} on`, {
      argument,
    });
  }
}

/** Refuses bad arguments of `commit`, before anything is written. What depends on the record is left to `plan`. */
export function checkCommit(key: RecordKey, changes: readonly Change[], options: CommitOptions): void {
  checkKey(key);
  for (const change of changes) {
    switch (change.op) {
      case 'set':
        checkId(change.field, 'field');
        checkToken(change.value, 'value');
        break;
      case 'remove':
        checkId(change.field, 'field');
        break;
      case 'append':
        checkId(change.field, 'field');
        checkToken(change.item, 'item');
        break;
      case 'increment':
        checkId(change.field, 'field');
        if (!Number.isSafeInteger(change.by)) {
          throw new AgentUpError('INVALID_ARGUMENT', `increment by ${change.by}; only whole numbers are added`, {
            argument: 'by',
            field: change.field,
          });
        }
        break;
      case 'log':
        checkToken(change.entry, 'entry');
        break;
      case 'owner':
        if (change.owner !== undefined) checkId(change.owner, 'owner');
        break;
      case 'clearLog':
      case 'clearFields':
      case 'touch':
        break;
      default:
        throw new AgentUpError('INVALID_ARGUMENT', `unknown change ${JSON.stringify((change as Change).op)}`, {
          argument: 'changes',
        });
    }
  }
  if (typeof options.condition?.owner === 'string') checkId(options.condition.owner, 'condition.owner');
  if (options.expiry) checkTtl(expirySeconds(options.expiry));
  if (options.carried) checkCarried(options.carried, changes, options);
  if (options.logMax !== undefined) checkCount(options.logMax, 'logMax', 0);
  if (options.maxFields !== undefined) checkCount(options.maxFields, 'maxFields', 0);
  if (options.commitId !== undefined) checkId(options.commitId, 'commitId');
  if (options.idempotency) {
    checkId(options.idempotency.key, 'idempotency.key');
    checkToken(options.idempotency.reply, 'idempotency.reply');
    checkCount(options.idempotency.keep, 'idempotency.keep', 1);
  }
  if (options.lease) {
    checkId(options.lease.token, 'token');
    if (options.lease.keepMs !== undefined) checkCount(options.lease.keepMs, 'keepMs', 1);
    if (options.lease.next) checkBegin(key, options.lease.next);
  }
}

function checkCarried(
  { createdAt, updatedAt, expiresAt, ownTtl, logDropped = 0, replies }: Carried,
  changes: readonly Change[],
  { expiry, idempotency }: CommitOptions,
): void {
  checkCount(createdAt, 'carried.createdAt', 0);
  checkCount(updatedAt, 'carried.updatedAt', 0);
  if (expiresAt !== undefined) checkCount(expiresAt, 'carried.expiresAt', 1);
  if (ownTtl !== undefined) checkTtl(ownTtl, 'carried.ownTtl');
  checkCount(logDropped, 'carried.logDropped', 0);
  const refuse = (message: string): AgentUpError =>
    new AgentUpError('INVALID_ARGUMENT', message, { argument: 'carried' });
  if (expiry) throw refuse('carried attributes say when the record expires; an expiry must not');
  for (const [key, reply] of replies ?? []) {
    checkId(key, 'carried.replies');
    checkToken(reply, 'carried.replies');
  }
  if (replies && idempotency) throw refuse('carried replies are all that the record keeps; an idempotency adds one');
  const cleared = changes.some(({ op }) => op === 'clearLog');
  if (logDropped > 0 && (!cleared || changes.some(({ op }) => op === 'log'))) {
    throw refuse('the log begins at carried.logDropped only where it is cleared and nothing is logged');
  }
}

/** A value that was not encoded would be stored as something no reader can decode. */
function checkToken(token: unknown, argument: string): void {
  if (typeof token !== 'string' || token === '') {
    throw new AgentUpError('INVALID_ARGUMENT', `${argument} is not a token; make one with encode`, { argument });
  }
}

/** Does the commit write anything, or only renew or release a lease? */
export function writes(changes: readonly Change[], options: CommitOptions): boolean {
  const { expiry, idempotency, carried } = options;
  return changes.length > 0 || expiry !== undefined || idempotency !== undefined || carried !== undefined;
}

/** Does the record (or its absence) meet the condition? */
export function meets(
  record: (Pick<StateRecord, 'version' | 'owner'> & { readonly fields: ReadonlyMap<string, Token> }) | undefined,
  condition: CommitCondition | undefined,
): boolean {
  if (!condition) return true;
  if (condition.exists !== undefined && condition.exists !== (record !== undefined)) return false;
  if (condition.version !== undefined && condition.version !== (record?.version ?? 0)) return false;
  if (condition.owner !== undefined && condition.owner !== (record?.owner ?? null)) return false;
  for (const [field, token] of condition.fields ?? []) {
    if (record?.fields.get(field) !== token) return false;
  }
  return true;
}

/** What a change list does to a record, worked out before anything is touched. */
export interface Plan {
  readonly clearFields: boolean;
  /** New tokens; `undefined` removes the field. */
  readonly fields: Map<string, Token | undefined>;
  readonly clearLog: boolean;
  readonly log: Token[];
  /** `undefined`: stays as it is. */
  readonly owner: { readonly value: string | undefined } | undefined;
  readonly incremented: Map<string, number>;
}

/**
 * Works a change list out against the fields that are there, for backends that fold changes themselves.
 * @throws WRONG_TYPE, INTEGER_OVERFLOW, LIMIT_EXCEEDED, with nothing changed
 */
export function plan(current: ReadonlyMap<string, Token>, changes: readonly Change[], maxFields?: number): Plan {
  const fields = new Map<string, Token | undefined>();
  const incremented = new Map<string, number>();
  let log: Token[] = [];
  let clearFields = false;
  let clearLog = false;
  let owner: Plan['owner'];
  const tokenOf = (field: string): Token | undefined =>
    fields.has(field) ? fields.get(field) : clearFields ? undefined : current.get(field);

  for (const change of changes) {
    switch (change.op) {
      case 'set':
        fields.set(change.field, change.value);
        break;
      case 'remove':
        fields.set(change.field, undefined);
        break;
      case 'increment': {
        const value = add(tokenOf(change.field), change.by, change.field);
        fields.set(change.field, String(value));
        incremented.set(change.field, value);
        break;
      }
      case 'append': {
        const list = tokenOf(change.field) ?? '[]';
        if (!list.startsWith('[')) throw wrongType(change.field, 'a list');
        fields.set(change.field, appendToken(list, change.item));
        break;
      }
      case 'log':
        log.push(change.entry);
        break;
      case 'clearLog':
        log = [];
        clearLog = true;
        break;
      case 'clearFields':
        fields.clear();
        clearFields = true;
        break;
      case 'owner':
        owner = { value: change.owner };
    }
  }
  if (maxFields !== undefined) checkFieldCount(current, clearFields, fields, maxFields);
  return { clearFields, fields, clearLog, log, owner, incremented };
}

/** The sum of an integer token and `by`. */
export function add(token: Token | undefined, by: number, field: string): number {
  const before = token === undefined ? 0 : integerOf(token);
  if (before === undefined) throw wrongType(field, 'an integer');
  const value = before + by;
  if (!Number.isSafeInteger(value)) {
    throw overflow(field);
  }
  return value;
}

/** The error for an increment or append on something else. */
export function wrongType(field: string, wanted: string): AgentUpError {
  return new AgentUpError('WRONG_TYPE', `${shownField(field)} does not hold ${wanted}`, { field: plainField(field) });
}

/** The error for a sum that could not be told from its neighbours. */
export function overflow(field: string): AgentUpError {
  const message = `${shownField(field)} would leave the range of exact integers (±2^53−1)`;
  return new AgentUpError('INTEGER_OVERFLOW', message, { field: plainField(field) });
}

function checkFieldCount(
  current: ReadonlyMap<string, Token>,
  cleared: boolean,
  fields: ReadonlyMap<string, Token | undefined>,
  max: number,
): void {
  let count = cleared ? 0 : current.size;
  for (const [field, token] of fields) {
    const there = !cleared && current.has(field);
    if (token !== undefined && !there) count++;
    else if (token === undefined && there) count--;
  }
  if (count > max && count > current.size) throw tooManyFields(max, count);
}

/** The error for a record with too many fields. */
export function tooManyFields(max: number, actual: number): AgentUpError {
  return new AgentUpError('LIMIT_EXCEEDED', `the record would have ${actual} fields; at most ${max} are allowed`, {
    limit: 'fields',
    max,
    actual,
  });
}
