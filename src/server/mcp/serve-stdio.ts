import { StdioServerTransport, serveStdio } from '@modelcontextprotocol/server/stdio';
import type { Agent } from '../../agent/agent.js';
import type { Logger } from '../../logger.js';
import { ContextIds } from '../context-ids.js';
import type { Identity } from '../identity.js';
import { RunningCalls } from '../running-calls.js';
import { checkNames } from './check-names.js';
import { type McpPolicy, mcpServerOf } from './mcp-server.js';

export interface McpStdio {
  /** Fulfilled when nothing comes or goes any more: the other side has closed an end, or sent what cannot be a message. */
  readonly over: Promise<void>;
  /** Refuses new calls, and ends it once what runs has ended, for `server.stop_timeout` at most. */
  close(): Promise<void>;
}

/**
 * Serves MCP on this process's standard streams, for the program that started it. What it says of a caller is
 * believed: it could as well read the storage itself.
 * @throws INVALID_ARGUMENT where a tool cannot be served
 */
export async function serveMcpStdio(agent: Agent, caller: Identity, logger: Logger): Promise<McpStdio> {
  checkNames(agent);
  let stopping = false;
  const policy: McpPolicy = {
    contextIds: await ContextIds.over(agent.context.storage),
    freeContextIds: true,
    isStopping: () => stopping,
  };
  const calls = new RunningCalls();
  const transport = new ToldTransport();
  const served = serveStdio(() => mcpServerOf(agent, caller, policy, calls, logger), {
    transport,
    onerror: (error) => logger.warn(error, 'an MCP message was refused'),
  });
  return {
    over: transport.over,
    close: async () => {
      stopping = true;
      await calls.stop(agent.config.server.stop_timeout * 1000);
      await served.close();
    },
  };
}

/** Tells when it is closed, which it also is by itself: the one listener that a transport has is the SDK's. */
class ToldTransport extends StdioServerTransport {
  #tell: () => void = () => {};
  readonly over = new Promise<void>((resolve) => {
    this.#tell = resolve;
  });

  override async close(): Promise<void> {
    await super.close();
    this.#tell();
  }
}
