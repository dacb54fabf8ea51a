import { AgentUpError } from './errors.js';

/**
 * Refuses options that are none where they are given: JavaScript, and whoever has not read on, calls without.
 * @param of what they were given to
 * @param write what to write
 * @throws INVALID_ARGUMENT
 */
export function checkObject(value: unknown, of: string, write: string, argument = 'options'): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return;
  const given = value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value;
  throw new AgentUpError('INVALID_ARGUMENT', `${of} takes an object, not ${given}`, {
    argument,
    fix: `write ${write}`,
  });
}
