import { randomUUID } from 'node:crypto';
import { ConversationContext, MemoryStorage } from 'agentup';
import { beforeEach, describe, expect, it } from 'vitest';
import { TemplateSkill } from './skill.js';

let context: ConversationContext;

beforeEach(() => {
  context = new ConversationContext(new MemoryStorage());
});

/** One turn on the storage of this test, whatever agent_config.yaml says. */
function say(skill: TemplateSkill, contextId: string, text: string): Promise<string> {
  return skill.handle({ id: randomUUID(), contextId, text }, context);
}

describe('template name', () => {
  it('remembers from one turn to the next', async () => {
    const skill = new TemplateSkill();
    expect(await say(skill, 'ana', 'My name is Ana')).toContain('message 1');
    const second = await say(skill, 'ana', 'hello');
    expect(second).toContain('Hello Ana');
    expect(second).toContain('message 2');
    expect(second).toContain('My name is Ana');
    expect(await context.getHistory('ana')).toHaveLength(4);
  });

  it('learns preferences and notes', async () => {
    const skill = new TemplateSkill();
    await say(skill, 'ana', 'I like green tea.');
    await say(skill, 'ana', 'I hate noise');
    await say(skill, 'ana', 'Remember that the key is under the mat');
    const answer = await say(skill, 'ana', 'What do you remember?');
    expect(answer).toContain('you like green tea');
    expect(answer).toContain('you dislike noise');
    expect(answer).toContain('the key is under the mat');
  });

  it('keeps two conversations apart', async () => {
    const skill = new TemplateSkill();
    await say(skill, 'ana', 'My name is Ana');
    expect(await say(skill, 'ben', 'What do you know?')).toBe('I know nothing about you yet.');
    expect(await context.getVariable('ben', 'name')).toBeUndefined();
  });

  it('leaves no trace of a turn that fails', async () => {
    class Unreliable extends TemplateSkill {
      protected override async answer(): Promise<string> {
        throw new Error('the model is down');
      }
    }
    await expect(say(new Unreliable(), 'ana', 'My name is Ana')).rejects.toThrow('the model is down');
    expect(await context.getVariables('ana')).toEqual({});
    expect(await context.getHistory('ana')).toEqual([]);
    expect(await say(new TemplateSkill(), 'ana', 'hello')).toContain('message 1');
  });
});
