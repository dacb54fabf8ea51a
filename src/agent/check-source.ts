import { AgentUpError } from '../errors.js';
import { isStorage } from '../storage/check-storage.js';

/**
 * Refuses code in the place of configuration, which as a configuration would be refused key by key.
 * @throws INVALID_ARGUMENT
 */
export function checkSource(source: object): void {
  const { state, storage = state, skills } = source as Record<'state' | 'storage' | 'skills', unknown>;
  if (isStorage(storage) || isStorage((state as { storage?: unknown } | null | undefined)?.storage)) {
    throw new AgentUpError('INVALID_ARGUMENT', 'a configuration names its storage and does not hold one', {
      argument: 'state',
      fix: "write state: { backend: 'memory' }, or 'file', 'valkey'; one of your own is given to handlers: withState(fn, { storage })",
    });
  }
  if (Array.isArray(skills) && skills.some((skill) => typeof skill === 'function')) {
    throw new AgentUpError('INVALID_ARGUMENT', 'a configuration names the files of its skills and does not hold code', {
      argument: 'skills',
      fix: 'give code behind the configuration: createAgent({ state }, { skills: [MySkill] })',
    });
  }
}
