import 'reflect-metadata';
import { type ConversationContext, injected, skill, stateful, type Task } from 'agentup';

interface Preferences {
  likes: string[];
}

@skill({
  id: 'memory_assistant',
  name: 'Memory assistant',
  description: 'Remembers your name, what you like, and what you said',
})
export class MemoryAssistant {
  @stateful()
  async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()): Promise<string> {
    const messages = await context.incrementVariable(contextId, 'messages');
    await context.addToHistory(contextId, 'user', task.text);
    const reply = await this.reply(task.text, context, contextId, messages);
    await context.addToHistory(contextId, 'assistant', reply);
    return reply;
  }

  private async reply(text: string, context: ConversationContext, id: string, messages: number): Promise<string> {
    const name = await context.getVariable<string>(id, 'name');
    const preferences = await context.getVariable<Preferences>(id, 'preferences', { likes: [] });

    const introduced = /\b(?:my name is|i am called|call me)\s+(\p{L}[\p{L}' -]*)/iu.exec(text)?.[1]?.trim();
    if (introduced) {
      await context.setVariable(id, 'name', introduced);
      return `Nice to meet you, ${introduced}.`;
    }

    const liked = /\bi (?:like|love|prefer)\s+(.+?)[.!]*$/iu.exec(text)?.[1];
    if (liked) {
      if (!preferences.likes.includes(liked)) preferences.likes.push(liked);
      await context.setVariable(id, 'preferences', preferences);
      return `I will remember that you like ${liked}.`;
    }

    if (/\b(?:remember|know about me|who am i)\b/iu.test(text)) {
      const said = (await context.getHistory(id, { limit: 20 })).filter(({ role }) => role === 'user').slice(0, -1);
      const facts = [
        name ? `your name is ${name}` : 'you have not told me your name',
        preferences.likes.length > 0 ? `you like ${preferences.likes.join(' and ')}` : 'I do not know what you like',
        said.length > 0 ? `the last thing you said was "${said.at(-1)?.content}"` : 'this is the first thing you say',
      ];
      return `This is message ${messages} of our conversation: ${facts.join(', ')}.`;
    }

    return `Hello${name ? `, ${name}` : ''}! This is message ${messages} of our conversation.`;
  }
}
