import { serveStdio } from '@modelcontextprotocol/server/stdio';
import type { Agent } from '../../agent/agent.js';
import type { Logger } from '../../logger.js';
import { ContextIds } from '../context-ids.js';
import type { Identity } from '../identity.js';
import { RunningCalls } from '../running-calls.js';
import { checkNames } from './check-names.js';
import { mcpServerOf } from './mcp-server.js';

/**
 * Serves MCP on this process's standard streams, for the program that started it. What it says of a caller is
 * believed: it could as well read the storage itself.
 * @returns ends it, once what runs has ended, for `server.stop_timeout` at most
 * @throws INVALID_ARGUMENT where a tool cannot be served
 */
export async function serveMcpStdio(agent: Agent, caller: Identity, logger: Logger): Promise<() => Promise<void>> {
  checkNames(agent);
  const policy = { contextIds: await ContextIds.over(agent.context.storage), freeContextIds: true };
  const calls = new RunningCalls();
  const served = serveStdio(() => mcpServerOf(agent, caller, policy, calls, logger), {
    onerror: (error) => logger.warn(error, 'an MCP message was refused'),
  });
  return async () => {
    await calls.stop(agent.config.server.stop_timeout * 1000);
    await served.close();
  };
}
