import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCacheFactory } from '../../src/caches/index.js';
import { type Agent, createAgent } from '../../src/index.js';
import { FileTaskStore } from '../../src/server/index.js';

const SKILL = `
import { stateful } from ${JSON.stringify(new URL('../../src/index.js', import.meta.url).href)};
export class Memory {
  async handle(task, context, id) {
    await context.setVariable(id, 'secret', 'Zdenka');
    await context.addToHistory(id, 'user', task.text);
    return context.incrementVariable(id, 'visits');
  }
}
const { value } = Object.getOwnPropertyDescriptor(Memory.prototype, 'handle');
Object.defineProperty(Memory.prototype, 'handle', stateful()(Memory.prototype, 'handle', { value, writable: true, configurable: true }));
`;

let directory: string;
const agents: Agent[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'agentup-encryption-'));
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  writeFileSync(join(directory, 'memory.js'), SKILL);
});
afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.close();
  rmSync(directory, { recursive: true, force: true });
});

const newKey = (): string => randomBytes(32).toString('base64');
const bytesOf = (path: string): string =>
  statSync(path).isDirectory()
    ? readdirSync(path)
        .map((name) => bytesOf(join(path, name)))
        .join('\n')
    : readFileSync(path, 'latin1');

async function agentWith(encryption: string): Promise<Agent> {
  const file = join(directory, 'agent_config.yaml');
  writeFileSync(
    file,
    `skills: [{ id: memory, handler: ./memory.js }]\nstate:\n  backend: file\n  storage_dir: ./state\n${encryption}\n`,
  );
  const agent = await createAgent(file);
  agents.push(agent);
  return agent;
}

describe('state.encryption', () => {
  it('encrypts what an agent keeps, and a rotated key reads it', async () => {
    const [first, second] = [newKey(), newKey()];
    const one = await agentWith(`  encryption: { key: "${first}" }`);
    expect((await one.handle({ id: '1', contextId: 'c1', text: 'I am Zdenka' })).value).toBe(1);
    await one.close();
    const raw = bytesOf(join(directory, 'state'));
    expect(raw).toContain('var:secret');
    expect(raw).not.toContain('Zdenka');
    const two = await agentWith(`  encryption: { key: "${second}", previous: ["${first}"] }`);
    expect((await two.handle({ id: '2', contextId: 'c1', text: 'again' })).value).toBe(2);
    await two.close();
    const three = await agentWith(`  encryption: { key: "${second}" }`);
    const failed = three.handle({ id: '3', contextId: 'c1', text: 'again' });
    await expect(failed).rejects.toMatchObject({ code: 'KEY_MISSING' });
    await three.close();
    const none = await agentWith('');
    await expect(none.handle({ id: '4', contextId: 'c1', text: 'again' })).rejects.toMatchObject({
      code: 'KEY_MISSING',
    });
  });

  it('encrypts tasks and caches where they are told to', async () => {
    const encryption = { key: newKey() };
    const tasks = new FileTaskStore({ storageDir: join(directory, 'tasks'), encryption });
    const factory = await createCacheFactory('file', { storageDir: join(directory, 'cache'), encryption });
    await factory.createUserCache({ tenantId: 't', userId: 'u' }).set({ name: 'Zdenka' });
    const read = await factory.createUserCache({ tenantId: 't', userId: 'u' }).get();
    expect(read).toEqual({ name: 'Zdenka' });
    await factory.close();
    await tasks.close();
    const raw = bytesOf(join(directory, 'cache'));
    expect(raw).toContain('enc1.');
    expect(raw).not.toContain('Zdenka');
    const other = await createCacheFactory('file', { storageDir: join(directory, 'cache') });
    const plain = other.createUserCache({ tenantId: 't', userId: 'u' });
    await expect(plain.get()).rejects.toMatchObject({ code: 'KEY_MISSING' });
    await other.close();
  });
});
