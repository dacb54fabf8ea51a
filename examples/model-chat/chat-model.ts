import type { OpenAiMessage, ToolBox, ToolCall } from 'agentup';

/** What a model says: text, or calls of tools that it waits for. */
export interface ModelReply {
  readonly text: string;
  readonly toolCalls: readonly ToolCall[];
}

/** A model behind an interface: what the skill knows of it. */
export interface ChatModel {
  reply(messages: readonly OpenAiMessage[], tools: ReturnType<ToolBox['toOpenAi']>): Promise<ModelReply>;
}
