import type { RecordKey } from '../../storage/keys.js';
import type { CallScope } from './caller.js';

/** The record of a task. */
export function taskKey(taskId: string, { tenantId, userId }: CallScope): RecordKey {
  const owner = userId === undefined ? ['anonymous'] : ['user', userId];
  return { space: 'tasks', scope: tenantId === undefined ? owner : [...owner, tenantId], id: taskId };
}
