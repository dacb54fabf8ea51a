import type { RecordKey } from '../../storage/keys.js';
import type { CallScope } from './caller.js';

/** The record of a task. */
export function taskKey(taskId: string, { tenantId, userId }: CallScope): RecordKey {
  const owner = userId === undefined ? ['anonymous'] : ['user', userId];
  return { space: 'tasks', scope: tenantId === undefined ? owner : [...owner, tenantId], id: taskId };
}

/** Tells the record from all others, as one text. */
export function nameOf({ scope, id }: RecordKey): string {
  return JSON.stringify([scope, id]);
}
