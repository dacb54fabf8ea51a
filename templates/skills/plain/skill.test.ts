import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { TemplateSkill } from './skill.js';

function say(skill: TemplateSkill, contextId: string, text: string): Promise<string> {
  return skill.handle({ id: randomUUID(), contextId, text });
}

describe('template name', () => {
  it('answers two messages, each on its own', async () => {
    const skill = new TemplateSkill();
    expect(await say(skill, 'ana', 'hello there')).toBe('You said "hello there" (2 words).');
    expect(await say(skill, 'ana', 'bye')).toBe('You said "bye" (1 word).');
  });

  it('answers everybody alike', async () => {
    const skill = new TemplateSkill();
    expect(await say(skill, 'ana', 'same')).toBe(await say(skill, 'ben', 'same'));
  });

  it('asks for words when there are none', async () => {
    expect(await say(new TemplateSkill(), 'ana', '  ')).toContain('Say something');
  });

  it('works again after a message that failed', async () => {
    let broken = true;
    class Unreliable extends TemplateSkill {
      protected override async answer(text: string): Promise<string> {
        if (broken) throw new Error('the model is down');
        return super.answer(text);
      }
    }
    const skill = new Unreliable();
    await expect(say(skill, 'ana', 'hello')).rejects.toThrow('the model is down');
    broken = false;
    expect(await say(skill, 'ana', 'hello')).toContain('hello');
  });
});
