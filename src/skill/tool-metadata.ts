import 'reflect-metadata';
import { AgentUpError, messageOf } from '../errors.js';
import type { StandardSchema } from '../standard-schema.js';
import { classOf, handlersOf, mainHandler, methodsWith } from './handler-metadata.js';
import type { StatefulOptions } from './stateful-options.js';

/** JSON Schema, as a model's function calling takes it. */
export interface JsonSchema {
  readonly [name: string]: unknown;
}

/** Whose state a tool works on, where it is not that of its skill's handler. */
export type ToolStateOptions = Omit<StatefulOptions<never>, 'contextId' | 'dedupe' | 'onUnavailable'>;

export interface ToolOptions<Schema extends StandardSchema = StandardSchema> extends ToolStateOptions {
  /** What it does and when to use it, for the model. */
  readonly description: string;
  /** What it is called: letters, digits, `_` and `-`, 64 at most. Default: the name of the method. */
  readonly name?: string | undefined;
  /** Validates the arguments; the tool is given what it puts out. */
  readonly input?: Schema | undefined;
  /**
   * The JSON Schema of the arguments, where `input` does not offer one (zod 4, valibot with its adapter, arktype do).
   * On its own it describes the arguments and validates nothing.
   */
  readonly inputSchema?: JsonSchema | undefined;
  /** Seconds after which the tool is given up. Default 30. */
  readonly timeout?: number | undefined;
}

/** What `@tool()` records on the method. */
export interface ToolMetadata {
  readonly name: string;
  readonly description: string;
  readonly input: StandardSchema | undefined;
  readonly inputSchema: JsonSchema | undefined;
  readonly timeoutMs: number;
  /** `undefined`: it follows the handler of its skill. */
  readonly state: ToolStateOptions | undefined;
  /** The method itself, which `@tool()` wraps. */
  // biome-ignore lint/suspicious/noExplicitAny: methods of every signature
  readonly run: (...args: any[]) => unknown;
}

/** A tool of a skill's instance. */
export interface BoundTool {
  readonly metadata: ToolMetadata;
  readonly self: object;
}

/** What a model is told of a tool. */
export interface ToolInfo {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: JsonSchema;
  readonly skillId: string;
}

const TOOL = 'agentup:tool';

export function recordTool(fn: object, metadata: ToolMetadata): void {
  Reflect.defineMetadata(TOOL, metadata, fn);
}

/** What `@tool()` recorded on a method, or `undefined` where it is none. */
export function toolMetadata(fn: unknown): ToolMetadata | undefined {
  return typeof fn === 'function' ? (Reflect.getOwnMetadata(TOOL, fn) as ToolMetadata | undefined) : undefined;
}

/** The tools of an instance, in the order of their methods. */
export function toolsOn(self: object): BoundTool[] {
  const type = classOf(self);
  return type === undefined ? [] : methodsWith(type, toolMetadata).map(({ metadata }) => ({ self, metadata }));
}

const merged = new WeakMap<object, WeakMap<object, ToolStateOptions>>();

/**
 * The options by which a tool finds its state: those of its skill's handler, its own on top. The same object each
 * time, because open storages are found by it.
 */
export function stateOptionsOf(metadata: ToolMetadata, self: object): ToolStateOptions {
  const own = metadata.state;
  const type = classOf(self);
  const main = type && mainHandler(handlersOf(type));
  const handler = main?.metadata.kind === 'stateful' ? main.metadata.options : undefined;
  if (own === undefined) return handler ?? NO_OPTIONS;
  if (handler === undefined) return own;
  let ofHandler = merged.get(handler);
  if (!ofHandler) {
    ofHandler = new WeakMap();
    merged.set(handler, ofHandler);
  }
  let options = ofHandler.get(own);
  if (!options) {
    options = { ...handler, ...own };
    ofHandler.set(own, options);
  }
  return options;
}

const NO_OPTIONS: ToolStateOptions = {};

/**
 * The JSON Schema of a tool's arguments: the one given, else what its schema says of itself, else of no arguments.
 * @throws INVALID_ARGUMENT where the schema cannot say
 */
export function inputSchemaOf(metadata: ToolMetadata): JsonSchema {
  let schema = schemas.get(metadata);
  if (!schema) {
    schema = makeInputSchema(metadata);
    schemas.set(metadata, schema);
  }
  return schema;
}

/** Making one costs a schema library as much as a turn costs us, and a model is told of its tools every time. */
const schemas = new WeakMap<ToolMetadata, JsonSchema>();

function makeInputSchema({ name, input, inputSchema }: ToolMetadata): JsonSchema {
  if (inputSchema) return inputSchema;
  if (!input) return { type: 'object', properties: {} };
  const refuse = (why: string, cause?: unknown): AgentUpError =>
    new AgentUpError('INVALID_ARGUMENT', `the input of the tool ${name} ${why}`, {
      argument: 'input',
      tool: name,
      fix: 'give its JSON Schema by hand: @tool({ inputSchema: … })',
      cause,
    });
  const { jsonSchema, vendor } = input['~standard'];
  if (!jsonSchema) throw refuse(`is a schema of ${vendor} that offers no JSON Schema`);
  let schema: Record<string, unknown>;
  try {
    schema = jsonSchema.input({ target: 'draft-2020-12' });
  } catch (error) {
    throw refuse(`has no JSON Schema: ${messageOf(error)}`, error);
  }
  const { $schema: _, ...described } = schema;
  if (described['type'] !== undefined && described['type'] !== 'object') throw refuse('is no object');
  return described;
}

/** The tool as OpenAI's Chat Completions API takes it in `tools`. */
export function toOpenAiTool({ name, description, inputSchema }: ToolInfo) {
  return { type: 'function' as const, function: { name, description, parameters: inputSchema } };
}

/** A value as the text that a model is told: a string as it is, nothing as `null`, anything else as JSON. */
export function toolResultText(result: unknown): string {
  return typeof result === 'string' ? result : (JSON.stringify(result) ?? 'null');
}
