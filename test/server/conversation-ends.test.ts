import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { Agent } from '../../src/agent/agent.js';
import { createAgent } from '../../src/agent/create-agent.js';
import type { SkillTarget } from '../../src/agent/load-skill.js';
import type { StateConfigInput } from '../../src/config/index.js';
import type { ConversationContext } from '../../src/conversation/conversation-context.js';
import type { ConversationResource } from '../../src/conversation-api/schemas.js';
import { createConversationApi } from '../../src/server/index.js';
import { type EndedEvent, onConversationEnded } from '../../src/skill/hooks.js';
import { injected } from '../../src/skill/injected.js';
import { skill } from '../../src/skill/skill.js';
import { stateful } from '../../src/skill/stateful.js';
import type { Task } from '../../src/skill/task.js';
import { valkeyUrl } from '../support/index.js';
import { TestClock } from '../support/test-clock.js';

const ended: { event: EndedEvent; n: unknown }[] = [];
let failing = 0;

@skill({ id: 'shop' })
class Shop {
  @onConversationEnded()
  async finish(event: EndedEvent, context: ConversationContext, contextId: string): Promise<void> {
    if (failing-- > 0) throw new Error('not yet');
    ended.push({ event, n: await context.getVariable(contextId, 'n') });
  }

  @stateful()
  async handle(_task: Task, context: ConversationContext = injected(), contextId: string = injected()) {
    return context.incrementVariable(contextId, 'n');
  }
}

@skill({ id: 'of-users' })
class OfUsers {
  @onConversationEnded()
  async finish(): Promise<void> {}

  @stateful({ scope: 'user' })
  async handle() {
    return '';
  }
}

const directory = mkdtempSync(join(tmpdir(), 'agentup-ends-'));
let places = 0;
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.each(['memory', 'file', 'valkey'] as const)('an end through the conversation API, on %s', (backend) => {
  const closing: (() => Promise<unknown>)[] = [];
  // The time of a server cannot be moved.
  const clock = backend === 'valkey' ? undefined : new TestClock();
  const stateOf = (): StateConfigInput => {
    const place = `ends-${process.pid}-${++places}`;
    if (backend === 'valkey') return { backend, url: valkeyUrl(), key_prefix: `${place}:` };
    return backend === 'file' ? { backend, storage_dir: join(directory, place) } : { backend };
  };
  const agentOf = async (state: StateConfigInput, skills: SkillTarget[] = [Shop]): Promise<Agent> => {
    const conversations = { ttl: 100, api_keys: [{ key: 'k', sub_domains: ['north'] }] };
    const agent = await createAgent({ state, conversations }, { skills, clock });
    closing.push(() => agent.close());
    return agent;
  };
  const apiOf = async (agent: Agent) => {
    const server = createServer(createConversationApi(agent));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    closing.push(async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    });
    const { port } = server.address() as AddressInfo;
    return async (method: string, path: string, body?: unknown, headers?: Record<string, string>) => {
      const answer = await fetch(`http://127.0.0.1:${port}/api/v1${path}`, {
        method,
        headers: { 'X-Service-API-Key': 'k', 'Content-Type': 'application/json', ...headers },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      return { status: answer.status, body: (await answer.json()) as ConversationResource };
    };
  };
  const entries = async ({ context }: Agent): Promise<number> => {
    let count = 0;
    for await (const { key } of context.storage.list({ space: 'conversation-ends' })) {
      // The entry for when it would have expired is looked at then.
      if (Number(key.id.slice(0, 15)) <= context.clock.now()) count++;
    }
    return count;
  };
  const wanted = { subDomain: 'north', userId: 'ana' };
  const taskOf = (contextId: string): Task => ({ id: 't', text: '', contextId, tenantId: 'north', userId: 'ana' });
  const told = (contextId: string) => ended.filter(({ event }) => event.contextId === contextId);

  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  it('runs the hooks at once, beside an agent that nobody has look, and leaves it to be read until it expires', async () => {
    const agent = await agentOf(stateOf());
    const call = await apiOf(agent);
    const { sessionId } = (await call('POST', '/conversations', wanted)).body;
    await agent.handle(taskOf(sessionId));
    const at = `/conversations/${sessionId}`;
    const before = (await call('GET', at)).body.expiresAt;
    const once = { 'Idempotency-Key': 'end' };
    expect((await call('POST', `${at}/end`, {}, once)).body.isActive).toBe(false);
    await expect.poll(() => told(sessionId)).toHaveLength(1);
    expect(told(sessionId)[0]).toMatchObject({ n: 1, event: { reason: 'ended', userId: 'ana', tenantId: 'north' } });
    await expect.poll(() => entries(agent)).toBe(0);
    for (const path of [`${at}/end`, `${at}/end`]) expect((await call('POST', path, {}, once)).status).toBe(200);
    const { body } = await call('GET', at);
    expect(body).toMatchObject({ isActive: false, context: { n: 1 } });
    expect(Math.abs(Date.parse(body.expiresAt ?? '') - Date.parse(before ?? ''))).toBeLessThan(10_000);
    expect(await agent.conversations.runDue()).toBe(0);
    if (clock) {
      clock.advance(101_000);
      expect((await call('GET', at)).status).toBe(404);
      expect(await agent.conversations.runDue()).toBe(0);
    }
    expect(told(sessionId)).toHaveLength(1);
  });

  it('runs them where the skill is, once of all who look, where the one that serves the API has it not', async () => {
    const state = stateOf();
    const [serving, ...others] = [await agentOf(state, []), await agentOf(state), await agentOf(state)];
    const call = await apiOf(serving as Agent);
    const { sessionId } = (await call('POST', '/conversations', wanted)).body;
    await others[0]?.handle(taskOf(sessionId));
    await call('POST', `/conversations/${sessionId}/end`);
    expect(await serving?.conversations.runDue()).toBe(0);
    expect(told(sessionId)).toEqual([]);
    const looks = await Promise.all(others.map(({ conversations }) => conversations.runDue()));
    expect(looks.reduce((sum, n) => sum + n)).toBe(1);
    expect(told(sessionId)).toMatchObject([{ n: 1, event: { reason: 'ended' } }]);
    expect((await call('GET', `/conversations/${sessionId}`)).body.isActive).toBe(false);
  });

  it('has a conversation to end also where the skill with the hooks keeps its memory per user', async () => {
    const agent = await agentOf(stateOf(), [OfUsers]);
    const call = await apiOf(agent);
    const { status, body } = await call('POST', '/conversations', { ...wanted, botId: 'b' });
    expect([status, body.userId, body.botId, body.expiresAt === undefined]).toEqual([201, 'ana', 'b', false]);
    expect((await call('POST', `/conversations/${body.sessionId}/end`)).body.isActive).toBe(false);
  });

  // What takes minutes, where time can be moved.
  if (clock) {
    it('tries again where a hook throws, and then stays as it is', async () => {
      const agent = await agentOf(stateOf());
      const call = await apiOf(agent);
      const { sessionId } = (await call('POST', '/conversations', wanted)).body;
      failing = 1;
      await call('POST', `/conversations/${sessionId}/end`);
      await expect.poll(() => failing).toBe(0);
      await expect.poll(() => entries(agent)).toBe(0);
      expect(await agent.conversations.runDue()).toBe(0);
      clock.advance(31_000);
      expect(await agent.conversations.runDue()).toBe(1);
      expect(told(sessionId)).toHaveLength(1);
      expect((await call('GET', `/conversations/${sessionId}`)).body.isActive).toBe(false);
    });

    it('says that it was ended also where nobody looked until its time was over', async () => {
      const state = stateOf();
      const call = await apiOf(await agentOf(state, []));
      const agent = await agentOf(state);
      const { sessionId } = (await call('POST', '/conversations', wanted)).body;
      await agent.handle(taskOf(sessionId));
      await call('POST', `/conversations/${sessionId}/end`);
      clock.advance(101_000);
      expect((await call('GET', `/conversations/${sessionId}`)).status).toBe(404);
      expect(await agent.conversations.runDue()).toBe(1);
      expect(told(sessionId)).toMatchObject([{ event: { reason: 'ended' } }]);
      expect(await agent.context.scoped({ tenantId: 'north' }).getMetadata(sessionId, 'endedAt')).toBeUndefined();
    });
  }
});
