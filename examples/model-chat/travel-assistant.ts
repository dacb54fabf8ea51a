import 'reflect-metadata';
import {
  type ConversationContext,
  injected,
  isAgentUpError,
  type JsonValue,
  skill,
  stateful,
  type Task,
  type ToolCall,
  toModelMessages,
  tool,
  toolsOf,
} from 'agentup';
import { z } from 'zod';
import type { ChatModel } from './chat-model.js';
import { OpenAiModel } from './open-ai-model.js';
import { ScriptedModel } from './scripted-model.js';

/** Rounds of tool calls for one message, so that a model that goes round in circles comes to an end. */
const MAX_ROUNDS = 5;
/** What the history may take of the model's context. */
const MAX_TOKENS = 4_000;

const City = z.object({ city: z.string().min(1).describe('Name of the city') });
type City = z.output<typeof City>;

@skill({ id: 'travel_assistant', description: 'Talks about cities with a language model' })
export class TravelAssistant {
  readonly #model: ChatModel = modelOf(process.env);

  @stateful()
  async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()): Promise<string> {
    await context.addToHistory(contextId, 'user', task.text);
    const tools = toolsOf(this);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const history = await context.getHistory<JsonValue>(contextId, { maxTokens: MAX_TOKENS });
      const cities = await context.getVariable<string[]>(contextId, 'cities', []);
      const system = `You are a travel assistant. Cities that the user loves: ${cities.join(', ') || 'not known yet'}.`;
      const messages = toModelMessages(history, { format: 'openai', system });
      const { text, toolCalls } = await this.#model.reply(messages, tools.toOpenAi());
      if (toolCalls.length === 0) {
        await context.addToHistory(contextId, 'assistant', text);
        return text;
      }
      await context.addToHistory(contextId, 'assistant', text, { toolCalls: toolCalls.map((call) => ({ ...call })) });
      for (const call of toolCalls) {
        const { content, isError } = await this.#call(call);
        const about = { toolCallId: call.id, toolName: call.name, ...(isError && { isError }) };
        await context.addToHistory(contextId, 'tool', content, about);
      }
    }
    return 'I could not find that out.';
  }

  @tool({ name: 'get_weather', description: 'The weather in a city now', input: City, timeout: 5 })
  async weather({ city }: City): Promise<object> {
    return { city, sky: city.length % 2 === 0 ? 'sunny' : 'cloudy', celsius: 10 + city.length };
  }

  @tool({ name: 'remember_city', description: 'Remembers that the user loves a city', input: City })
  async rememberCity(
    { city }: City,
    context: ConversationContext = injected(),
    contextId: string = injected(),
  ): Promise<object> {
    await context.appendToVariable(contextId, 'cities', city);
    return { remembered: city };
  }

  /** What came of a call. The model is told of its mistakes, so that it can mend them. */
  async #call(call: ToolCall): Promise<{ content: JsonValue; isError: boolean }> {
    try {
      return { content: (await toolsOf(this).call(call.name, call.arguments)) as JsonValue, isError: false };
    } catch (error) {
      if (!isAgentUpError(error)) throw error;
      return { content: error.message, isError: true };
    }
  }
}

/** A real model where the environment names one, else the stand-in. */
function modelOf(env: NodeJS.ProcessEnv): ChatModel {
  const { MODEL_BASE_URL: baseUrl, MODEL_API_KEY: apiKey = '', MODEL_NAME: model = 'gpt-4o-mini' } = env;
  return baseUrl ? new OpenAiModel({ baseUrl, apiKey, model }) : new ScriptedModel();
}
