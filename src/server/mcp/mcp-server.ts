import { type CallToolResult, Server, type Tool } from '@modelcontextprotocol/server';
import type { Agent } from '../../agent/agent.js';
import { AgentUpError, isAgentUpError } from '../../errors.js';
import type { Logger } from '../../logger.js';
import { isInputRequired } from '../../skill/input-required.js';
import { toolResultText } from '../../skill/tool-metadata.js';
import { checkId, isWellFormed } from '../../storage/keys.js';
import type { ContextIds } from '../context-ids.js';
import { failureOf } from '../failure.js';
import type { Identity } from '../identity.js';
import { inJson } from '../in-json.js';
import type { RunningCalls } from '../running-calls.js';

export interface McpPolicy {
  readonly contextIds: ContextIds;
  /** May a caller without a name use any context id? One who started the process itself may. */
  readonly freeContextIds: boolean;
  /** Is nothing new to be taken any more? Absent where whoever reads the requests sees to that. */
  readonly isStopping?: () => boolean;
}

/** What a skill is called among the tools. */
export const SKILL_PREFIX = 'ask_';
/** The argument, and the part of the result, that names the conversation. */
export const CONTEXT_ID = 'contextId';
const CONTEXT_ID_SCHEMA = {
  type: 'string',
  description: 'The conversation: the contextId of an earlier result. Left out, a new one begins.',
};

/**
 * An agent as an MCP server for one caller: each skill is a tool that takes a message, each `@tool()` is one as it is.
 * The conversation is an explicit handle: every result names it, and a call goes on with it by naming it.
 */
export function mcpServerOf(
  agent: Agent,
  caller: Identity,
  policy: McpPolicy,
  calls: RunningCalls,
  logger: Logger,
): Server {
  const { name, version = '0.0.0', description } = agent.config.agent;
  const server = new Server(
    { name, version },
    { capabilities: { tools: {} }, ...(description !== undefined && { instructions: description }) },
  );
  server.setRequestHandler('tools/list', async () => ({ tools: toolsOf(agent) }));
  server.setRequestHandler('tools/call', async ({ params: { name: tool, arguments: given = {} } }, { mcpReq }) => {
    if (policy.isStopping?.()) {
      const { text, code } = failureOf(new AgentUpError('AGENT_CLOSED', 'the agent stops'));
      return refusal(text, code);
    }
    const { [CONTEXT_ID]: asked, ...args } = given;
    let contextId: string;
    try {
      contextId = contextIdOf(asked, caller, policy);
    } catch (error) {
      return refusal((error as Error).message, 'CONTEXT_ID_INVALID');
    }
    const { userId, tenantId } = caller;
    const place = {
      contextId,
      ...(userId !== undefined && { userId, scope: 'session' as const }),
      ...(tenantId !== undefined && { tenantId }),
    };
    const isSkill = tool.startsWith(SKILL_PREFIX) && agent.skills.some(({ id }) => `${SKILL_PREFIX}${id}` === tool);
    try {
      return await calls.run(async (stop) => {
        const signal = AbortSignal.any([mcpReq.signal, stop.signal]);
        return isSkill
          ? await askSkill(agent, tool.slice(SKILL_PREFIX.length), args, { ...place, signal })
          : resultOf(await agent.tools.call(tool, args, { ...place, signal }), contextId);
      });
    } catch (error) {
      // Who has given it up reads no answer, and knows why there is none.
      if (mcpReq.signal.aborted) return refusal('Cancelled.', 'TURN_CANCELLED');
      return failed(error, isSkill, logger);
    }
  });
  return server;
}

interface Place {
  readonly contextId: string;
  readonly signal: AbortSignal;
  readonly userId?: string;
  readonly tenantId?: string;
  readonly scope?: 'session';
}

function toolsOf(agent: Agent): Tool[] {
  const skills = agent.skills.map(
    ({ id, name, description }): Tool => ({
      name: `${SKILL_PREFIX}${id}`,
      description: description === undefined ? `Ask ${name}.` : `Ask ${name}: ${description}`,
      inputSchema: {
        type: 'object',
        properties: {
          message: { type: 'string', description: 'What to say.' },
          messageId: {
            type: 'string',
            description: 'Names the message. The same one again is answered as before and not handled twice.',
          },
          [CONTEXT_ID]: CONTEXT_ID_SCHEMA,
        },
        required: ['message'],
        additionalProperties: false,
      },
    }),
  );
  const tools = agent.tools.list().map(
    ({ name, description, inputSchema }): Tool => ({
      name,
      description,
      inputSchema: {
        ...inputSchema,
        type: 'object',
        properties: { ...(inputSchema['properties'] as object | undefined), [CONTEXT_ID]: CONTEXT_ID_SCHEMA },
      },
    }),
  );
  return [...skills, ...tools];
}

async function askSkill(
  agent: Agent,
  skill: string,
  { message, messageId, ...more }: Record<string, unknown>,
  { scope, signal, ...place }: Place,
): Promise<CallToolResult> {
  const unknown = Object.keys(more)[0];
  if (typeof message !== 'string') return refusal('message is a text, and must be given', 'TOOL_INPUT_INVALID');
  if (messageId !== undefined && typeof messageId !== 'string') {
    return refusal('messageId is a text', 'TOOL_INPUT_INVALID');
  }
  if (messageId !== undefined && !isWellFormed(messageId)) {
    return refusal('messageId holds a lone surrogate', 'TOOL_INPUT_INVALID');
  }
  if (unknown !== undefined) return refusal(`there is no argument ${JSON.stringify(unknown)}`, 'TOOL_INPUT_INVALID');
  const id = crypto.randomUUID();
  const task = { id, text: message, signal, ...place, ...(messageId !== undefined && { messageId }) };
  const { value } = await agent.handle(task, { skill, ...(scope && { scope }) });
  if (!isInputRequired(value)) return resultOf(value, place.contextId);
  const { question, data } = value;
  return resultOf({ question, ...(data !== undefined && { data }) }, place.contextId, question);
}

function resultOf(given: unknown, contextId: string, said?: string): CallToolResult {
  // The turn is committed: a value that JSON cannot hold must not make it look as if it had failed.
  const value = inJson(given);
  const text = said ?? toolResultText(value);
  return {
    content: [
      { type: 'text', text },
      // For models, which read the content and not what is structured.
      { type: 'text', text: `${CONTEXT_ID}: ${contextId}` },
    ],
    structuredContent: { [CONTEXT_ID]: contextId, result: (value ?? null) as never },
  };
}

function contextIdOf(asked: unknown, { userId }: Identity, { contextIds, freeContextIds }: McpPolicy): string {
  if (asked === undefined || asked === null || asked === '') return contextIds.make();
  checkId(asked, CONTEXT_ID);
  if (userId === undefined && !freeContextIds && !contextIds.made(asked)) {
    throw new Error(`this ${CONTEXT_ID} was not made by this agent; call without one first`);
  }
  return asked;
}

/** What a model can do something about it is told; what a tool or handler threw is for the log. */
function failed(error: unknown, ofHandler: boolean, logger: Logger): CallToolResult {
  // Those of a handler are about a tool that it called itself.
  if (!ofHandler) {
    if (isAgentUpError(error, 'TOOL_NOT_FOUND') || isAgentUpError(error, 'TOOL_INPUT_INVALID')) {
      return refusal(error.message, error.code);
    }
    if (isAgentUpError(error, 'TOOL_TIMEOUT')) return refusal('The tool took too long.', error.code);
  }
  logger.error(error, 'a call over MCP failed');
  const { text, code } = failureOf(error);
  return refusal(text, code);
}

function refusal(text: string, code: string): CallToolResult {
  return { isError: true, content: [{ type: 'text', text }], structuredContent: { error: { code, message: text } } };
}
