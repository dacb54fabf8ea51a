import { AgentUpError, messageOf } from '../errors.js';
import { classOf } from './handler-metadata.js';
import { ownerName } from './handler-name.js';
import { type CallableTool, callTool, type ToolPlace, ToolThrew } from './invoke-tool.js';
import type { StatefulOptions } from './stateful-options.js';
import { type BoundTool, inputSchemaOf, type ToolInfo, toOpenAiTool, toolsOn } from './tool-metadata.js';

/** Where a tool is called, by name. */
export interface ToolCallOptions {
  /** The conversation. Default: that of the turn it is called from. */
  readonly contextId?: string | undefined;
  readonly userId?: string | undefined;
  readonly tenantId?: string | undefined;
  /** The scope of a tool whose skill names none. Default: that of the turn it is called from, else `conversation`. */
  readonly scope?: StatefulOptions['scope'];
  /** Gives the tool up when it is aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** Runs a call of a tool: an agent counts it among what it waits for when it closes. */
export type CallRunner = <R>(call: () => Promise<R>) => Promise<R>;

/** Tools by their names. */
export class ToolBox {
  readonly #tools = new Map<string, { readonly tool: BoundTool; readonly skillId: string }>();
  readonly #run: CallRunner;

  /** @throws INVALID_ARGUMENT when two have one name */
  constructor(
    skills: Iterable<{ readonly id: string; readonly tools: readonly BoundTool[] }>,
    run: CallRunner = (call) => call(),
  ) {
    this.#run = run;
    for (const { id: skillId, tools } of skills) {
      for (const tool of tools) {
        const { name } = tool.metadata;
        const other = this.#tools.get(name);
        if (other) throw nameTaken(name, skillId, other.skillId);
        this.#tools.set(name, { tool, skillId });
      }
    }
  }

  /** What a model's function calling is told: name, description, JSON Schema of the arguments. */
  list(): ToolInfo[] {
    return [...this.#tools.values()].map(({ tool: { metadata }, skillId }) => ({
      name: metadata.name,
      description: metadata.description,
      inputSchema: inputSchemaOf(metadata),
      skillId,
    }));
  }

  /** The same as OpenAI's Chat Completions API takes it in `tools`. */
  toOpenAi(): ReturnType<typeof toOpenAiTool>[] {
    return this.list().map(toOpenAiTool);
  }

  /**
   * Calls a tool with what a model gave as its arguments: in the turn this is called from, where that is on the same
   * conversation, else in a turn of its own.
   * @throws TOOL_NOT_FOUND; TOOL_INPUT_INVALID with the issues of the schema; TOOL_FAILED with what the tool threw as
   * its cause; TOOL_TIMEOUT; CONTEXT_ID_MISSING; whatever the turn fails with. Nothing of the tool is kept then.
   */
  async call(name: string, args?: unknown, options: ToolCallOptions = {}): Promise<unknown> {
    const found = this.#tools.get(name);
    if (!found) {
      throw new AgentUpError('TOOL_NOT_FOUND', `there is no tool ${JSON.stringify(name)}`, {
        tool: name,
        fix: `use one of: ${[...this.#tools.keys()].join(', ') || '(there are none)'}`,
      });
    }
    const { tool, skillId } = found;
    try {
      return await this.#run(() => callTool(callable(tool), args, options satisfies ToolPlace));
    } catch (error) {
      if (!(error instanceof ToolThrew)) throw error;
      const { error: cause } = error;
      throw new AgentUpError('TOOL_FAILED', `the tool ${name} failed: ${messageOf(cause)}`, {
        tool: name,
        skillId,
        ...(options.contextId !== undefined && { contextId: options.contextId }),
        cause,
      });
    }
  }
}

/** The tools of one skill, for its own handler: what a model may call in the turn that runs. */
export function toolsOf(self: object): ToolBox {
  return new ToolBox([{ id: ownerName(classOf(self)) ?? '', tools: toolsOn(self) }]);
}

function callable({ metadata, self }: BoundTool): CallableTool {
  return { metadata, self, run: (...args) => metadata.run.apply(self, args) };
}

function nameTaken(name: string, skillId: string, other: string): AgentUpError {
  return new AgentUpError(
    'INVALID_ARGUMENT',
    `the tool ${name} of the skill ${skillId} is called like one of ${other}`,
    {
      argument: 'name',
      tool: name,
      skillId,
      fix: `give it a name of its own: @tool({ name: '${skillId}_${name}' })`,
    },
  );
}
