import { AgentUpError } from '../errors.js';
import { checkCount, checkKey, shownValue } from './changes.js';
import { checkId, checkSpace, type RecordKey } from './keys.js';
import type { ListQuery, LogOptions, ReadOptions, SweepQuery } from './state-storage.js';

/** Refuses bad arguments of `read`. */
export function checkRead(key: RecordKey, { log = 0, idempotencyKey }: ReadOptions): void {
  checkKey(key);
  if (idempotencyKey !== undefined) checkId(idempotencyKey, 'idempotencyKey');
  checkCount(log, 'log', 0);
}

/** Refuses bad arguments of `readLog`. */
export function checkReadLog(key: RecordKey, { limit, before }: LogOptions): void {
  checkKey(key);
  if (limit !== undefined) checkCount(limit, 'limit', 0);
  if (before !== undefined) checkCount(before, 'before', 0);
}

/** Refuses bad arguments of `list`. */
export function checkList(query: ListQuery): void {
  checkContainer(query);
  if (query.prefix !== undefined && query.prefix !== '') checkId(query.prefix, 'prefix');
  if (query.after !== undefined) {
    checkId(query.after, 'after');
    if (!query.scope) {
      throw new AgentUpError('INVALID_ARGUMENT', 'after is an id of one scope; say which', { argument: 'after' });
    }
  }
  if (query.owner !== undefined) checkId(query.owner, 'owner');
  if (query.updatedBefore !== undefined) checkMoment(query.updatedBefore);
  if (query.limit !== undefined) checkCount(query.limit, 'limit', 0);
}

/** Refuses bad arguments of `sweep`. A missing or broken moment must not read as "everything". */
export function checkSweep(query: SweepQuery): void {
  checkContainer(query);
  checkMoment(query.updatedBefore);
}

function checkContainer({ space, scope }: Pick<ListQuery, 'space' | 'scope'>): void {
  checkSpace(space);
  for (const part of scope ?? []) checkId(part, 'scope');
}

function checkMoment(moment: unknown): void {
  if (typeof moment !== 'number' || !Number.isFinite(moment)) {
    throw new AgentUpError(
      'INVALID_ARGUMENT',
      `updatedBefore is ${shownValue(moment)}; a moment in epoch milliseconds`,
      {
        argument: 'updatedBefore',
      },
    );
  }
}
