import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { Agent } from '../../src/agent/agent.js';
import { createAgent } from '../../src/agent/create-agent.js';
import type { AgentConfigInput, StateConfigInput } from '../../src/config/index.js';
import type { ConversationResource } from '../../src/conversation-api/schemas.js';
import { createConversationApi } from '../../src/server/index.js';
import { valkeyUrl } from '../support/index.js';
import { TestClock } from '../support/test-clock.js';

const directory = mkdtempSync(join(tmpdir(), 'agentup-guards-'));
let places = 0;
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function stateOf(backend: 'memory' | 'file' | 'valkey'): StateConfigInput {
  const place = `guards-${process.pid}-${++places}`;
  if (backend === 'valkey') return { backend, url: valkeyUrl(), key_prefix: `${place}:` };
  return backend === 'file' ? { backend, storage_dir: join(directory, place) } : { backend };
}

/** The API beside an agent without skills, and what calls it. */
async function served(config: Partial<AgentConfigInput> = {}, clock?: TestClock) {
  const api_keys = [
    { key: 'k', sub_domains: ['north', 'south'] },
    { key: 'other', sub_domains: ['north'] },
  ];
  const given = { state: stateOf('memory'), conversations: { ttl: 100, api_keys }, ...config };
  const agent = await createAgent(given, { clock });
  const server = createServer(createConversationApi(agent));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  closing.push(async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
    await agent.close();
  });
  const { port } = server.address() as AddressInfo;
  const call = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const answer = await fetch(`http://127.0.0.1:${port}/api/v1${path}`, {
      method,
      headers: { 'X-Service-API-Key': 'k', 'Content-Type': 'application/json', ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const etag = answer.headers.get('etag') ?? '';
    type Body = ConversationResource & { code: string; errors: { path: string }[]; conversation: ConversationResource };
    return { status: answer.status, etag, body: (await answer.json()) as Body };
  };
  const begin = async (userId = 'ana', subDomain = 'north') => {
    const { body, etag } = await call('POST', '/conversations', { subDomain, userId });
    return { at: `/conversations/${body.sessionId}`, sessionId: body.sessionId, etag };
  };
  return { agent, call, begin };
}

/** Lets something come between what a write was made from and its commit. */
function comeBetween(agent: Agent, come: () => Promise<unknown>): void {
  const { storage } = agent.context;
  const commit = storage.commit.bind(storage);
  let came = false;
  storage.commit = async (key, ...given) => {
    if (key.space === 'contexts' && !came) {
      came = true;
      await come();
    }
    return commit(key, ...given);
  };
}

describe.each(['memory', 'file', 'valkey'] as const)('writes that meet, on %s', (backend) => {
  it('for one state have one winner, also where both had seen it when they began', async () => {
    const state = stateOf(backend);
    const [here, there] = [await served({ state }), await served({ state })];
    const { at, etag } = await here.begin();
    let won = 0;
    comeBetween(here.agent, async () => {
      won = (await there.call('PATCH', `${at}/context`, { context: { a: 'there' } }, { 'If-Match': etag })).status;
    });
    const lost = await here.call('PATCH', `${at}/context`, { context: { a: 'here' } }, { 'If-Match': etag });
    expect([won, lost.status, lost.body.code]).toEqual([200, 412, 'CONFLICT']);
    const seen = await there.call('GET', at);
    expect(seen.body.context).toMatchObject({ a: 'there' });
    const callers = [here, there, here, there];
    const race = await Promise.all(
      callers.map(({ call }, b) => call('PATCH', `${at}/context`, { context: { b } }, { 'If-Match': seen.etag })),
    );
    expect(race.map(({ status }) => status).sort()).toEqual([200, 412, 412, 412]);
  });

  it('do not write on what has just ended', async () => {
    const { agent, call, begin } = await served({ state: stateOf(backend) });
    const { at } = await begin();
    comeBetween(agent, () => call('POST', `${at}/end`));
    const late = await call('POST', `${at}/messages`, { role: 'user', content: 'late' });
    expect([late.status, late.body.code]).toEqual([409, 'CONVERSATION_ENDED']);
    expect((await call('GET', at)).body.messageCount).toBe(0);
  });

  it('are all gone after a reset', async () => {
    const { agent, call, begin } = await served({ state: stateOf(backend) });
    const { at } = await begin();
    comeBetween(agent, () => call('PATCH', `${at}/context`, { context: { a: 1 } }));
    expect(Object.keys((await call('POST', `${at}/reset`)).body.context)).toEqual(['previousMessages']);
  });
});

describe('what guards the conversation API', () => {
  it('tells a conversation from another of the same id, and takes any state for *', async () => {
    const clock = new TestClock();
    const { agent, call, begin } = await served({}, clock);
    const { at, sessionId, etag } = await begin();
    expect((await call('PATCH', `${at}/context`, { context: {} }, { 'If-Match': '*' })).status).toBe(200);
    const ofAna = agent.context.scoped({ tenantId: 'north', userId: 'ana' });
    await ofAna.clearContext(sessionId);
    clock.advance(1_000);
    await agent.conversations.start(sessionId, { tenantId: 'north', userId: 'ana' });
    await ofAna.setTtl(sessionId, 100);
    const again = await call('GET', at);
    expect(again.etag.split('-')[1]).toBe(etag.split('-')[1]);
    expect((await call('PATCH', `${at}/context`, { context: {} }, { 'If-Match': etag })).status).toBe(412);
    expect(
      (await call('POST', '/conversations', { subDomain: 'north', userId: 'x' }, { 'If-Match': '*' })).status,
    ).toBe(412);
  });

  it('renews with every write when it expires, and with none when it is read', async () => {
    const clock = new TestClock();
    const { call, begin } = await served({}, clock);
    const { at } = await begin();
    const left = async () => (Date.parse((await call('GET', at)).body.expiresAt ?? '') - clock.now()) / 1000;
    for (const [method, path, body] of [
      ['PATCH', 'intent', { currentIntent: 'menu' }],
      ['PATCH', 'context', { context: { a: 1 } }],
      ['POST', 'messages', { role: 'user', content: 'x' }],
      ['POST', 'orders', { orderId: 'o' }],
      ['PUT', 'sync', {}],
      ['POST', 'reset', {}],
      ['POST', 'extend', {}],
    ] as const) {
      clock.advance(60_000);
      expect([path, await left()]).toEqual([path, 40]);
      await call(method, `${at}/${path}`, body);
      expect([path, await left()]).toEqual([path, 100]);
    }
    clock.advance(100_000);
    expect((await call('GET', at)).status).toBe(404);
  });

  it('knows an Idempotency-Key of each service for itself, up to 200 characters', async () => {
    const { call, begin } = await served();
    const { at } = await begin();
    const say = (content: string, headers: Record<string, string>) =>
      call('POST', `${at}/messages`, { role: 'user', content }, headers);
    const key = randomUUID().padEnd(200, 'x');
    expect((await say('a', { 'Idempotency-Key': key })).status).toBe(200);
    const other = await say('b', { 'Idempotency-Key': key, 'X-Service-API-Key': 'other' });
    expect([other.status, other.body.messageCount]).toEqual([200, 2]);
    const long = await say('c', { 'Idempotency-Key': `${key}x` });
    expect([long.status, long.body.errors[0]?.path]).toEqual([422, 'header.Idempotency-Key']);
  });

  it('refuses bodies over the limit, and callers who ask too often', async () => {
    const { call, begin } = await served({
      server: { body_limit: 2_000 },
      security: { rate_limit: { requests: 3, seconds: 60 } },
    });
    const { at } = await begin();
    const large = await call('PATCH', `${at}/context`, { context: { a: 'x'.repeat(3_000) } });
    expect([large.status, large.body.code]).toEqual([413, 'BODY_TOO_LARGE']);
    expect((await call('GET', at)).status).toBe(200);
    const often = await call('GET', at);
    expect([often.status, often.body.code]).toEqual([429, 'RATE_LIMITED']);
    expect((await call('GET', at, undefined, { 'X-Service-API-Key': 'other' })).status).toBe(200);
  });

  it('answers with the conversation that was written to last, of several of one user and of several tenants', async () => {
    const clock = new TestClock();
    const { agent, call, begin } = await served({}, clock);
    const bare = '51999888777';
    const north = await begin(bare, 'north');
    clock.advance(1_000);
    const south = await begin(bare, 'south');
    const found = async () => (await call('GET', `/whatsapp/lookup/conversation/+${bare}`)).body.conversation.sessionId;
    expect(await found()).toBe(south.sessionId);
    clock.advance(1_000);
    await call('PATCH', `${north.at}/context`, { context: { a: 1 } });
    expect(await found()).toBe(north.sessionId);
    const ofUser = async () => (await call('GET', `/conversations/user/${bare}?subDomain=north`)).body.sessionId;
    for (const id of ['a', 'z']) {
      clock.advance(1_000);
      await agent.conversations.start(id, { tenantId: 'north', userId: bare });
      expect(await ofUser()).toBe(id);
    }
    clock.advance(1_000);
    await call('PATCH', '/conversations/a/context?subDomain=north', { context: { a: 1 } });
    expect(await ofUser()).toBe('a');
  });

  it('shows its own entries where they belong, and of a message of the user only', async () => {
    const { call, begin } = await served();
    const { at } = await begin();
    await call('PUT', `${at}/sync`, { currentIntent: 'menu', metadata: { own: 1 }, currentOrderId: 'o' });
    await call('POST', `${at}/messages`, { role: 'user', content: 'mine' });
    const { body } = await call('POST', `${at}/messages`, { role: 'bot', content: 'of the bot' });
    expect(body.metadata).toEqual({ own: 1 });
    expect([body.currentIntent, body.lastUserMessage]).toEqual(['menu', 'mine']);
  });

  it("does not tell a key the number of another's business", async () => {
    const conversations = {
      api_keys: [
        { key: 'k', sub_domains: ['south'] },
        { key: 'other', sub_domains: ['north'] },
      ],
      numbers: [{ phone: '+51111111111', sub_domain: 'north' }],
    };
    const { call } = await served({ conversations });
    const at = '/whatsapp/lookup/tenant/51111111111';
    expect((await call('GET', at)).status).toBe(404);
    expect((await call('GET', at, undefined, { 'X-Service-API-Key': 'other' })).status).toBe(200);
  });
});
