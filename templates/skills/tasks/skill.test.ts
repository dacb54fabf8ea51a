import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConversationContext, FileStorage } from 'agentup';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TemplateSkill } from './skill.js';

let storageDir: string;
let storage: FileStorage;
let context: ConversationContext;

function open(): void {
  storage = new FileStorage({ storageDir });
  context = new ConversationContext(storage);
}

beforeEach(async () => {
  storageDir = await mkdtemp(join(tmpdir(), 'skill-test-'));
  open();
});

afterEach(async () => {
  await storage.close();
  await rm(storageDir, { recursive: true, force: true });
});

/** One turn on the storage of this test, whatever agent_config.yaml says. */
function say(skill: TemplateSkill, contextId: string, text: string): Promise<string> {
  return skill.handle({ id: randomUUID(), contextId, text }, context);
}

describe('template name', () => {
  it('goes from step to step', async () => {
    const skill = new TemplateSkill();
    expect(await say(skill, 'ana', 'start the report: collect, write')).toContain('First: collect');
    expect(await say(skill, 'ana', 'next')).toContain('Next: write');
    expect(await say(skill, 'ana', 'next')).toContain('is finished');
    expect(await say(skill, 'ana', 'status')).toContain('2 of 2');
  });

  it('pauses, and resumes after a restart', async () => {
    const skill = new TemplateSkill();
    await say(skill, 'ana', 'start the report: collect, write');
    await say(skill, 'ana', 'next');
    expect(await say(skill, 'ana', 'pause')).toContain('Paused');
    expect(await say(skill, 'ana', 'next')).toContain('is paused');

    await storage.close();
    open();

    expect(await say(new TemplateSkill(), 'ana', 'status')).toContain('is paused: 1 of 2');
    expect(await say(new TemplateSkill(), 'ana', 'resume')).toContain('Next: write');
  });

  it('keeps two conversations apart', async () => {
    const skill = new TemplateSkill();
    await say(skill, 'ana', 'start the report: collect, write');
    expect(await say(skill, 'ben', 'status')).toContain('nothing to do');
  });

  it('leaves no trace of a step that fails, and can try it again', async () => {
    class Unreliable extends TemplateSkill {
      protected override async perform(): Promise<string> {
        throw new Error('the printer is on fire');
      }
    }
    const skill = new TemplateSkill();
    await say(skill, 'ana', 'start the report: collect, write');
    await expect(say(new Unreliable(), 'ana', 'next')).rejects.toThrow('the printer is on fire');
    expect(await say(skill, 'ana', 'status')).toContain('0 of 2');
    expect(await context.getHistory('ana')).toHaveLength(1);
    expect(await say(skill, 'ana', 'next')).toContain('Did step 1, collect');
  });
});
