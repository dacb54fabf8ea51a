import 'reflect-metadata';
import { type ConversationContext, injected, type Message, skill, stateful, type Task, textOf } from 'agentup';

/** What is known about a person when a message comes in. */
export interface Knowledge {
  /** Messages the person has sent, this one included. */
  count: number;
  name: string | undefined;
  /** What the person likes, and how: `{ tea: 'like', noise: 'dislike' }`. */
  preferences: Record<string, string>;
  /** What the person asked to have remembered. */
  notes: string[];
  /** The last messages of both sides, oldest first. */
  history: Message[];
}

@skill({ id: 'template_id', name: 'template name', description: 'template description' })
export class TemplateSkill {
  @stateful()
  async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()): Promise<string> {
    const text = textOf(task).trim();
    const history = await context.getHistory(contextId, { limit: 10 });
    const count = await context.incrementVariable(contextId, 'messages');
    await this.learn(text, context, contextId);

    const reply = await this.answer(text, {
      count,
      history,
      name: await context.getVariable<string>(contextId, 'name'),
      preferences: await context.getVariable<Record<string, string>>(contextId, 'preferences', {}),
      notes: await context.getVariable<string[]>(contextId, 'notes', []),
    });

    await context.addToHistory(contextId, 'user', text);
    await context.addToHistory(contextId, 'assistant', reply);
    return reply;
  }

  /** Keeps what a message tells: a name, a preference, a thing to remember. */
  protected async learn(text: string, context: ConversationContext, contextId: string): Promise<void> {
    const name = /\bmy name is ([\p{L}\p{M}' -]+)/iu.exec(text)?.[1]?.trim();
    if (name) await context.setVariable(contextId, 'name', name);

    const note = /^remember (?:that )?(.+)/iu.exec(text)?.[1]?.trim();
    if (note) await context.appendToVariable(contextId, 'notes', note);

    const taste = /\bI (like|love|prefer|dislike|hate) ([^.,!?]+)/iu.exec(text);
    const thing = taste?.[2]?.trim();
    if (taste && thing) {
      const preferences = await context.getVariable<Record<string, string>>(contextId, 'preferences', {});
      const attitude = /dislike|hate/iu.test(taste[1] ?? '') ? 'dislike' : 'like';
      await context.setVariable(contextId, 'preferences', { ...preferences, [thing]: attitude });
    }
  }

  /**
   * Makes the answer. Put the call to your model here; `known` is what to tell it.
   * When it throws, the whole turn leaves no trace: nothing learned, nothing counted.
   */
  protected async answer(text: string, known: Knowledge): Promise<string> {
    if (/what do you (know|remember)/iu.test(text)) return this.summary(known);
    const greeting = known.name ? `Hello ${known.name}.` : 'Hello.';
    const last = known.history.findLast((message) => message.role === 'user');
    const before = last ? ` Before that you said "${last.content}".` : '';
    return `${greeting} This is message ${known.count}.${before}`;
  }

  private summary({ name, preferences, notes }: Knowledge): string {
    const facts = [
      ...(name ? [`your name is ${name}`] : []),
      ...Object.entries(preferences).map(([thing, attitude]) => `you ${attitude} ${thing}`),
      ...notes,
    ];
    return facts.length === 0 ? 'I know nothing about you yet.' : `I remember: ${facts.join('; ')}.`;
  }
}
