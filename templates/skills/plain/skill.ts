import 'reflect-metadata';
import { handler, skill, type Task, textOf } from 'agentup';

@skill({ id: 'template_id', name: 'template name', description: 'template description' })
export class TemplateSkill {
  @handler()
  async handle(task: Task): Promise<string> {
    const text = textOf(task).trim();
    if (text === '') return 'Say something, and I will answer.';
    return this.answer(text);
  }

  /** Makes the answer. Put your own work here: a lookup, a calculation, a call to a model. */
  protected async answer(text: string): Promise<string> {
    const words = text.split(/\s+/).length;
    return `You said "${text}" (${words} ${words === 1 ? 'word' : 'words'}).`;
  }
}
