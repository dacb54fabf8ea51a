import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler } from '@modelcontextprotocol/server';
import type { Agent } from '../../agent/agent.js';
import type { Logger } from '../../logger.js';
import { ANONYMOUS, type Identity } from '../identity.js';
import type { Layer, ServedRequest } from '../layers.js';
import { RunningCalls } from '../running-calls.js';
import { checkNames } from './check-names.js';
import { type McpPolicy, mcpServerOf } from './mcp-server.js';

/** Where MCP is served over streamable HTTP. */
export const MCP_PATH = '/mcp';

export interface McpRoutes {
  /** Whoever mounts it has set `request.identity` and read the body. */
  readonly handler: Layer<ServedRequest & { method: string; url: string }>;
  /** Waits for calls that run, cancels those that take longer than `timeoutMs`. @returns how many those were */
  stop(timeoutMs: number): Promise<number>;
}

/**
 * An agent as MCP over HTTP: without sessions, so that any process can answer any request.
 * @throws INVALID_ARGUMENT where a tool cannot be served
 */
export function mcpRoutes(agent: Agent, policy: McpPolicy, logger: Logger): McpRoutes {
  checkNames(agent);
  const calls = new RunningCalls();
  // It has a limit of its own otherwise, for whatever was not read before it.
  const maxRequestBodySize = agent.config.server.body_limit;
  const mcp = createMcpHandler(
    ({ authInfo }) =>
      mcpServerOf(agent, (authInfo?.extra?.['identity'] as Identity | undefined) ?? ANONYMOUS, policy, calls, logger),
    { onerror: (error) => logger.warn(error, 'an MCP request was refused'), maxRequestBodySize },
  );
  const serve = toNodeHandler(mcp, {
    onerror: (error) => logger.error(error, 'an MCP request failed'),
    maxRequestBodySize,
  });
  return {
    handler: async (request, response) => {
      const { identity = ANONYMOUS } = request;
      const auth = { token: '', clientId: identity.userId ?? '', scopes: [], extra: { identity } };
      await serve(Object.assign(request, { auth }), response, request.body);
    },
    stop: (timeoutMs) => calls.stop(timeoutMs),
  };
}
