import type { OpenAiMessage } from 'agentup';
import type { ChatModel, ModelReply } from './chat-model.js';

/** Stands in for a model, so that the example runs without a key: it knows two sentences and the tools for them. */
export class ScriptedModel implements ChatModel {
  async reply(messages: readonly OpenAiMessage[]): Promise<ModelReply> {
    const last = messages.at(-1);
    if (last?.role === 'tool') return { text: `I found this: ${last.content}`, toolCalls: [] };
    const asked = last?.content ?? '';
    const call = (name: string, args: Record<string, string>): ModelReply => ({
      text: '',
      toolCalls: [{ id: `call_${messages.length}`, name, arguments: args }],
    });
    const city = /weather in (\p{L}+)/iu.exec(asked)?.[1];
    if (city) return call('get_weather', { city });
    const favourite = /i love (\p{L}+)/iu.exec(asked)?.[1];
    if (favourite) return call('remember_city', { city: favourite });
    const before = messages.filter(({ role }) => role === 'user').length - 1;
    return { text: `You have said ${before} things before. Ask me for the weather in a city.`, toolCalls: [] };
  }
}
