import type { JsonValue, OpenAiMessage, OpenAiToolCall, ToolBox } from 'agentup';
import type { ChatModel, ModelReply } from './chat-model.js';

export interface OpenAiModelOptions {
  /** Up to and without `/chat/completions`: `https://api.openai.com/v1`, or any server that speaks the same. */
  readonly baseUrl: string;
  readonly apiKey: string;
  readonly model: string;
  /** Milliseconds. Default 60000. */
  readonly timeoutMs?: number;
}

/** A model that is reached over OpenAI's Chat Completions API, which many servers speak. */
export class OpenAiModel implements ChatModel {
  readonly #options: OpenAiModelOptions;

  constructor(options: OpenAiModelOptions) {
    this.#options = options;
  }

  async reply(messages: readonly OpenAiMessage[], tools: ReturnType<ToolBox['toOpenAi']>): Promise<ModelReply> {
    const { baseUrl, apiKey, model, timeoutMs = 60_000 } = this.#options;
    const response = await fetch(`${baseUrl.replace(/\/$/, '')}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${apiKey}` },
      body: JSON.stringify({ model, messages, ...(tools.length > 0 && { tools }) }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (!response.ok) {
      throw new Error(`the model answered ${response.status}: ${(await response.text()).slice(0, 200)}`);
    }
    const { choices } = (await response.json()) as {
      choices?: { message?: { content?: string | null; tool_calls?: OpenAiToolCall[] } }[];
    };
    const message = choices?.[0]?.message;
    if (!message) throw new Error('the model answered without a message');
    return {
      text: message.content ?? '',
      toolCalls: (message.tool_calls ?? []).map(({ id, function: { name, arguments: text } }) => ({
        id,
        name,
        arguments: parsed(text),
      })),
    };
  }
}

/** Models write JSON that is none now and then: then the tool is given the text, and tells the model what is wrong. */
function parsed(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return text;
  }
}
