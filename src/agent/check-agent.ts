import { AgentUpError } from '../errors.js';
import type { Agent } from './agent.js';

/**
 * Refuses what is no agent where it is given. Not by its class: there may be several copies of the package.
 * @param of what it was given to
 * @throws INVALID_ARGUMENT
 */
export function checkAgent(agent: unknown, of: string): asserts agent is Agent {
  if (typeof (agent as Partial<Agent> | null | undefined)?.handle === 'function') return;
  const isPromise = agent instanceof Promise;
  throw new AgentUpError('INVALID_ARGUMENT', `${of} needs an agent, not ${isPromise ? 'a promise' : typeof agent}`, {
    argument: 'agent',
    fix: isPromise ? 'await createAgent() first' : 'give it what createAgent() resolves to',
  });
}
