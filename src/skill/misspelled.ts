import { AgentUpError } from '../errors.js';
import type { Task } from './task.js';

type Name = 'contextId' | 'userId' | 'tenantId';

/** Another language's habits: `context_id`, `contextID`, `ContextId`. */
const SPELLINGS: ReadonlyMap<string, Name> = new Map(
  (['contextId', 'userId', 'tenantId'] as const).flatMap((name) => {
    const first = name.slice(0, -2);
    const Pascal = first.charAt(0).toUpperCase() + first.slice(1);
    const spellings = [
      `${first}ID`,
      `${first}id`,
      `${first}_id`,
      `${first}_ID`,
      `${first}-id`,
      `${Pascal}Id`,
      `${Pascal}ID`,
    ];
    return [...spellings, `${first.toUpperCase()}_ID`].map((spelling): [string, Name] => [spelling, name]);
  }),
);

/**
 * Refuses a task that has a misspelled key and not the right one, where that would find another conversation without a
 * word. Other keys are the task's own.
 * @throws INVALID_ARGUMENT
 */
export function refuseMisspelled(task: Task, name: Name): void {
  if (task[name] !== undefined) return;
  for (const key in task) {
    if (SPELLINGS.get(key) !== name || (task as unknown as Record<string, unknown>)[key] === undefined) continue;
    throw new AgentUpError('INVALID_ARGUMENT', `the task has ${JSON.stringify(key)} and no ${name}`, {
      argument: key,
      fix: `write \`${name}\``,
    });
  }
}
