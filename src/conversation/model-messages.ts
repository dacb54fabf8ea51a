import { checkObject } from '../check-object.js';
import { AgentUpError } from '../errors.js';
import type { JsonValue } from '../json.js';
import type { Message } from './message.js';

/** A model's call of a tool, as the metadata `toolCalls` of an assistant's message keeps it. */
export interface ToolCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: JsonValue;
}

/** Messages as OpenAI's Chat Completions API takes them. */
export type OpenAiMessage =
  | { role: 'system' | 'user'; content: string }
  | { role: 'assistant'; content: string | null; tool_calls?: OpenAiToolCall[] }
  | { role: 'tool'; content: string; tool_call_id: string };

export interface OpenAiToolCall {
  id: string;
  type: 'function';
  /** `arguments` is JSON text. */
  function: { name: string; arguments: string };
}

/** Messages as the AI SDK (version 5 on: `ModelMessage`) takes them. */
export type AiSdkMessage =
  | { role: 'system' | 'user'; content: string }
  | { role: 'assistant'; content: string | AiSdkAssistantPart[] }
  | { role: 'tool'; content: AiSdkToolResult[] };

export type AiSdkAssistantPart =
  | { type: 'text'; text: string }
  | { type: 'tool-call'; toolCallId: string; toolName: string; input: JsonValue };

export interface AiSdkToolResult {
  type: 'tool-result';
  toolCallId: string;
  toolName: string;
  output: { type: 'text' | 'error-text'; value: string } | { type: 'json' | 'error-json'; value: JsonValue };
}

export interface ModelMessagesOptions<Format extends 'openai' | 'ai-sdk'> {
  readonly format: Format;
  /** Goes before everything else. Where the AI SDK takes it on its own (`system`, `instructions`), leave it out here. */
  readonly system?: string | undefined;
}

/**
 * A history as a model's API takes it. A message whose content is no text is given as its JSON.
 *
 * Calls of tools and their results go by metadata: `{ toolCalls: [{ id, name, arguments }] }` on the assistant's
 * message, `{ toolCallId, toolName?, isError? }` on the tool's. Both APIs refuse a result without its call and a call
 * without its result, which is what the end of a history may begin or stop with: such halves are left out.
 * @throws INVALID_ARGUMENT
 */
export function toModelMessages<Format extends 'openai' | 'ai-sdk'>(
  history: readonly Message<unknown>[],
  options: ModelMessagesOptions<Format>,
): Format extends 'openai' ? OpenAiMessage[] : AiSdkMessage[] {
  if (!Array.isArray(history)) throw noHistory(history);
  checkObject(options, 'toModelMessages()', WRITE);
  const { format, system } = options;
  if (format !== 'openai' && format !== 'ai-sdk') {
    throw new AgentUpError('INVALID_ARGUMENT', "format is 'openai' or 'ai-sdk'", {
      argument: 'format',
      fix: `write ${WRITE}`,
    });
  }
  const made: (OpenAiMessage | AiSdkMessage)[] = system === undefined ? [] : [{ role: 'system', content: system }];
  for (const entry of wholeEntries(history)) made.push(...(format === 'openai' ? openAi(entry) : aiSdk(entry)));
  return made as Format extends 'openai' ? OpenAiMessage[] : AiSdkMessage[];
}

const WRITE = "toModelMessages(history, { format: 'openai' })";

/** A promise of a history is what is most often given instead of one. */
function noHistory(given: unknown): AgentUpError {
  const what = given instanceof Promise ? 'a promise' : given === null ? 'null' : typeof given;
  return new AgentUpError('INVALID_ARGUMENT', `toModelMessages() takes a list of messages, not ${what}`, {
    argument: 'history',
    fix: "write toModelMessages(await context.getHistory(contextId), { format: 'openai' })",
  });
}

/** One message, with the calls that it makes and all their results. */
interface Entry {
  readonly role: 'system' | 'user' | 'assistant';
  readonly text: string;
  readonly calls: readonly { readonly call: ToolCall; readonly result: Result }[];
}

interface Result {
  readonly content: unknown;
  readonly isError: boolean;
}

function wholeEntries(history: readonly Message<unknown>[]): Entry[] {
  const entries: Entry[] = [];
  for (const [index, { role, content, metadata }] of history.entries()) {
    if (role === 'tool') continue;
    const calls = role === 'assistant' ? answered(callsOf(metadata?.['toolCalls']), history, index) : [];
    const text = textOfContent(content);
    // A message that was nothing but its calls.
    if (calls.length === 0 && text === '' && metadata?.['toolCalls'] !== undefined) continue;
    entries.push({ role, text, calls });
  }
  return entries;
}

/** The calls whose results follow at once, before anybody else says something. */
function answered(calls: readonly ToolCall[], history: readonly Message<unknown>[], index: number): Entry['calls'] {
  const results = new Map<unknown, Result>();
  for (let next = index + 1; history[next]?.role === 'tool'; next++) {
    const { content, metadata } = history[next] as Message<unknown>;
    results.set(metadata?.['toolCallId'], { content, isError: metadata?.['isError'] === true });
  }
  return calls.flatMap((call) => {
    const result = results.get(call.id);
    return result ? [{ call, result }] : [];
  });
}

function openAi({ role, text, calls }: Entry): OpenAiMessage[] {
  if (role !== 'assistant') return [{ role, content: text }];
  if (calls.length === 0) return [{ role, content: text }];
  return [
    {
      role,
      content: text === '' ? null : text,
      tool_calls: calls.map(({ call: { id, name, arguments: args } }) => ({
        id,
        type: 'function',
        function: { name, arguments: typeof args === 'string' ? args : JSON.stringify(args) },
      })),
    },
    ...calls.map(({ call, result }) => ({
      role: 'tool' as const,
      tool_call_id: call.id,
      content: textOfContent(result.content),
    })),
  ];
}

function aiSdk({ role, text, calls }: Entry): AiSdkMessage[] {
  if (role !== 'assistant' || calls.length === 0) return [{ role, content: text }];
  return [
    {
      role,
      content: [
        ...(text === '' ? [] : [{ type: 'text' as const, text }]),
        ...calls.map(({ call: { id, name, arguments: input } }) => ({
          type: 'tool-call' as const,
          toolCallId: id,
          toolName: name,
          input: inputOf(input),
        })),
      ],
    },
    {
      role: 'tool',
      content: calls.map(({ call, result: { content, isError } }) => ({
        type: 'tool-result',
        toolCallId: call.id,
        toolName: call.name,
        output:
          typeof content === 'string'
            ? { type: isError ? 'error-text' : 'text', value: content }
            : { type: isError ? 'error-json' : 'json', value: content as JsonValue },
      })),
    },
  ];
}

/** A model's own text of its arguments is kept as such where it goes back to OpenAI's API; other APIs take what it says. */
function inputOf(args: JsonValue): JsonValue {
  if (typeof args !== 'string') return args;
  try {
    return JSON.parse(args) as JsonValue;
  } catch {
    return args;
  }
}

function callsOf(value: JsonValue | undefined): ToolCall[] {
  if (!Array.isArray(value)) return [];
  return (value as readonly Partial<ToolCall>[]).flatMap((call) =>
    typeof call?.id === 'string' && typeof call.name === 'string'
      ? [{ id: call.id, name: call.name, arguments: call.arguments ?? {} }]
      : [],
  );
}

function textOfContent(content: unknown): string {
  return typeof content === 'string' ? content : (JSON.stringify(content) ?? '');
}
