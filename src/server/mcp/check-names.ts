import type { Agent } from '../../agent/agent.js';
import { AgentUpError } from '../../errors.js';
import { CONTEXT_ID, SKILL_PREFIX } from './mcp-server.js';

/**
 * Are the tools such that a client can name each of them, and give each its arguments?
 * @throws INVALID_ARGUMENT
 */
export function checkNames({ skills, tools }: Agent): void {
  const taken = new Set(skills.map(({ id }) => `${SKILL_PREFIX}${id}`));
  for (const { name, skillId, inputSchema } of tools.list()) {
    const refuse = (why: string, fix: string): AgentUpError =>
      new AgentUpError('INVALID_ARGUMENT', `the tool ${name} cannot be served over MCP: ${why}`, {
        argument: 'name',
        tool: name,
        skillId,
        fix,
      });
    if (taken.has(name)) {
      throw refuse('a skill is called like that there', 'give it another name: @tool({ name: … })');
    }
    if (Object.hasOwn((inputSchema['properties'] as object | undefined) ?? {}, CONTEXT_ID)) {
      throw refuse(
        `its argument ${CONTEXT_ID} would be taken for the conversation to call it in`,
        'give the argument another name',
      );
    }
  }
}
