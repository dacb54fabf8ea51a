import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAgent } from '../../src/agent/create-agent.js';
import type { StateConfigInput } from '../../src/config/index.js';
import type { ConversationResource } from '../../src/conversation-api/schemas.js';
import { reencrypt } from '../../src/operations/index.js';
import { createConversationApi } from '../../src/server/index.js';
import { openStorage } from '../../src/storage/open-storage.js';
import { startValkey, type ValkeyServer } from '../support/index.js';
import { type Serving, serve } from './serving.js';

const KEY = 'the service key of north';
const ALL = 'the service key of all';
const conversations = {
  serve: true,
  api_keys: [
    { key: KEY, sub_domains: ['north', 'north2'] },
    { key_sha256: createHash('sha256').update(ALL).digest('hex'), sub_domains: ['*'] },
  ],
  numbers: [{ phone: '+51111111111', sub_domain: 'north2' }],
};
const ANA = '+51999888777';

let valkey: ValkeyServer;
let directory: string;
let runs = 0;

beforeAll(async () => {
  valkey = await startValkey();
  directory = await mkdtemp(join(tmpdir(), 'agentup-api-'));
});

afterAll(async () => {
  await valkey.stop();
  await rm(directory, { recursive: true, force: true });
});

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: ConversationResource & {
    code?: string;
    errors?: { path: string }[];
    conversations?: ConversationResource[];
    nextCursor?: string | null;
    subDomain?: string;
    conversation?: ConversationResource;
  };
}

function client(url: string, key = KEY) {
  return async (
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> => {
    const answer = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: { 'X-Service-API-Key': key, 'Content-Type': 'application/json', ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, body: text === '' ? undefined : JSON.parse(text) };
  };
}

function stateOf(backend: 'memory' | 'file' | 'valkey'): StateConfigInput {
  const run = `run${runs++}`;
  if (backend === 'valkey') return { backend, url: valkey.url, key_prefix: `${run}:` };
  return backend === 'file' ? { backend, storage_dir: join(directory, run) } : { backend };
}

const start = (backend: 'memory' | 'file' | 'valkey' = 'memory', state = stateOf(backend)): Promise<Serving> =>
  serve({ state, conversations, security: { rate_limit: { requests: 0 } } });

describe.each(['memory', 'file', 'valkey'] as const)('the conversation API, on %s', (backend) => {
  it('makes one active conversation of a user, however many ask at once', async () => {
    await using serving = await start(backend);
    const call = client(serving.url);
    const wanted = { subDomain: 'north', userId: ANA, localId: 'l1', botId: 'b1' };
    const all = await Promise.all([1, 2, 3, 4].map(() => call('POST', '/conversations', wanted)));
    expect(new Set(all.map(({ body }) => body.sessionId)).size).toBe(1);
    expect(all.map(({ status }) => status).sort()).toEqual([200, 200, 200, 201]);
    const { body } = all[0] as Answer;
    expect(body).toMatchObject({ ...wanted, isActive: true, context: { previousMessages: [] }, orderHistory: [] });
    const lives = Date.parse(body.expiresAt ?? '') - Date.parse(body.createdAt);
    expect(Math.abs(lives - 86_400_000)).toBeLessThan(5_000);
    expect((await call('GET', `/conversations/user/${encodeURIComponent(ANA)}`)).body.sessionId).toBe(body.sessionId);
    expect((await call('GET', `/conversations/${body.sessionId}`)).body).toEqual(body);
    expect((await call('POST', '/conversations', { ...wanted, subDomain: 'north2' })).body.sessionId).not.toBe(
      body.sessionId,
    );
  });

  it('keeps intent, context, messages and orders, and clears, extends and ends', async () => {
    await using serving = await start(backend);
    const call = client(serving.url);
    const { sessionId } = (await call('POST', '/conversations', { subDomain: 'north', userId: ANA })).body;
    const at = `/conversations/${sessionId}`;
    await call('PATCH', `${at}/intent`, { currentIntent: 'order', currentStep: 'size' });
    await call('PATCH', `${at}/context`, {
      context: { selectedItems: [{ id: 1, n: 2 }], orderTotal: 25.5, own: '007' },
    });
    await call('PATCH', `${at}/context`, { context: { orderTotal: 30, own: null, customerName: 'Ana' } });
    await call('POST', `${at}/messages`, { role: 'user', content: 'a pizza' });
    const timestamp = '2026-01-02T03:04:05.000Z';
    await call('POST', `${at}/messages`, {
      messages: [
        { role: 'bot', content: 'which?', timestamp, metadata: { via: 'x' } },
        { role: 'user', content: { button: 'L' } },
      ],
    });
    await call('POST', `${at}/orders`, { orderId: 'o1' });
    await call('POST', `${at}/orders`, { orderId: 'o2' });
    const { body } = await call('POST', `${at}/orders`, { orderId: 'o1' });
    expect(body).toMatchObject({
      currentIntent: 'order',
      currentStep: 'size',
      currentOrderId: 'o1',
      orderHistory: ['o1', 'o2'],
      lastUserMessage: { button: 'L' },
      messageCount: 3,
    });
    const { previousMessages, ...entries } = body.context;
    expect(entries).toEqual({ selectedItems: [{ id: 1, n: 2 }], orderTotal: 30, customerName: 'Ana' });
    expect(previousMessages.map(({ role, content }) => [role, content])).toEqual([
      ['user', 'a pizza'],
      ['assistant', 'which?'],
      ['user', { button: 'L' }],
    ]);
    expect(previousMessages[1]).toMatchObject({ timestamp, metadata: { via: 'x' } });
    expect((await call('GET', `${at}?messages=1`)).body.context.previousMessages).toHaveLength(1);

    const extended = (await call('POST', `${at}/extend`, { seconds: 1000 })).body;
    expect(Date.parse(extended.expiresAt ?? '') - Date.now()).toBeLessThan(1_001_000);
    // The first one again, late: it had its effect, and takes nothing back of what came after.
    const once = { 'Idempotency-Key': 'extend' };
    await call('POST', `${at}/extend`, { seconds: 500 }, once);
    await call('POST', `${at}/extend`, { seconds: 5000 });
    const again = await call('POST', `${at}/extend`, { seconds: 500 }, once);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(Date.parse(again.body.expiresAt ?? '') - Date.now()).toBeGreaterThan(4_000_000);
    const reset = (await call('POST', `${at}/reset`, {})).body;
    expect(reset).toMatchObject({ context: { previousMessages: [] }, orderHistory: ['o1', 'o2'] });
    expect(Object.keys(reset.context)).toEqual(['previousMessages']);
    for (const gone of ['currentIntent', 'currentStep', 'currentOrderId', 'lastUserMessage']) {
      expect(reset).not.toHaveProperty(gone);
    }
    expect((await call('POST', `${at}/end`, {})).body.isActive).toBe(false);
    expect((await call('POST', `${at}/end`)).status).toBe(200);
    expect((await call('GET', at)).body.isActive).toBe(false);
    expect((await call('POST', `${at}/messages`, { role: 'user', content: 'x' })).body.code).toBe('CONVERSATION_ENDED');
    expect((await call('GET', `/conversations/user/${ANA}`)).status).toBe(404);
    const next = await call('POST', '/conversations', { subDomain: 'north', userId: ANA });
    expect([next.status, next.body.sessionId === sessionId]).toEqual([201, false]);
  });

  it('applies a sync all or nothing', async () => {
    await using serving = await start(backend);
    const call = client(serving.url);
    const { sessionId } = (await call('POST', '/conversations', { subDomain: 'north', userId: ANA })).body;
    const at = `/conversations/${sessionId}`;
    const sync = {
      currentIntent: 'payment',
      currentStep: null,
      context: { orderTotal: 9 },
      metadata: { source: 'app', gone: null },
      messages: [{ role: 'user', content: 'hi' }],
      currentOrderId: 'o9',
    };
    const { status, body } = await call('PUT', `${at}/sync`, sync);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      currentIntent: 'payment',
      currentStep: null,
      context: { orderTotal: 9, previousMessages: [{ content: 'hi' }] },
      metadata: { source: 'app' },
      orderHistory: ['o9'],
    });
    const bad = await call('PUT', `${at}/sync`, {
      currentIntent: 'menu',
      messages: [
        { role: 'user', content: 'x' },
        { role: 'nobody', content: 'y' },
      ],
    });
    expect([bad.status, bad.body.errors?.[0]?.path]).toEqual([422, 'body.messages.1.role']);
    const huge = await call('PUT', `${at}/sync`, { currentIntent: 'menu', context: { ['n'.repeat(300)]: 1 } });
    expect([huge.status, huge.body.code]).toEqual([422, 'LIMIT_EXCEEDED']);
    expect((await call('GET', at)).body).toEqual(body);
  });

  it('has the effect of a request once under its Idempotency-Key, also when the same comes many times at once', async () => {
    await using serving = await start(backend);
    const call = client(serving.url);
    const { sessionId } = (await call('POST', '/conversations', { subDomain: 'north', userId: ANA })).body;
    const at = `/conversations/${sessionId}`;
    const message = { role: 'user', content: 'once' };
    const key = { 'Idempotency-Key': randomUUID() };
    const all = await Promise.all([1, 2, 3, 4, 5].map(() => call('POST', `${at}/messages`, message, key)));
    expect(all.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(all.filter(({ headers }) => headers.get('idempotency-replayed') === null)).toHaveLength(1);
    expect((await call('GET', at)).body.messageCount).toBe(1);
    const other = await call('POST', `${at}/messages`, { role: 'user', content: 'other' }, key);
    expect([other.status, other.body.code]).toEqual([422, 'IDEMPOTENCY_MISMATCH']);
    const end = { 'Idempotency-Key': randomUUID() };
    await call('POST', `${at}/end`, {}, end);
    expect((await call('POST', `${at}/end`, {}, end)).status).toBe(200);
    expect((await call('POST', `${at}/messages`, message, key)).headers.get('idempotency-replayed')).toBe('true');
  });

  it('answers a beginning under its Idempotency-Key again, also when it has ended since', async () => {
    const state = stateOf(backend);
    await using serving = await start(backend, state);
    await using other = await start(backend, state);
    const [call, there] = [client(serving.url), client(other.url)];
    const wanted = { subDomain: 'north', userId: ANA };
    const key = { 'Idempotency-Key': randomUUID() };
    const all = await Promise.all([call, there, call, there].map((ask) => ask('POST', '/conversations', wanted, key)));
    const [first] = all.map(({ body }) => body.sessionId);
    expect(all.map(({ status, body }) => [status, body.sessionId])).toEqual(all.map(() => [201, first]));
    expect(all.filter(({ headers }) => headers.get('idempotency-replayed') === null)).toHaveLength(1);
    const later = { 'Idempotency-Key': randomUUID() };
    expect((await call('POST', '/conversations', wanted, later)).status).toBe(200);
    await call('POST', `/conversations/${first}/end`);
    for (const [ask, under, status] of [
      [there, key, 201],
      [call, later, 200],
    ] as const) {
      const again = await ask('POST', '/conversations', wanted, under);
      expect([again.status, again.body.sessionId, again.body.isActive]).toEqual([status, first, false]);
      expect(again.headers.get('idempotency-replayed')).toBe('true');
    }
    const changed = await there('POST', '/conversations', { ...wanted, botId: 'b' }, key);
    expect([changed.status, changed.body.code]).toEqual([422, 'IDEMPOTENCY_MISMATCH']);
    // Of another user it is another request, and without a key each is one of its own.
    const others = await call('POST', '/conversations', { ...wanted, userId: 'bob' }, key);
    expect([others.status, others.body.userId]).toEqual([201, 'bob']);
    const next = await call('POST', '/conversations', wanted);
    expect([next.status, next.body.sessionId === first]).toEqual([201, false]);
    expect((await there('POST', '/conversations', wanted, key)).body.sessionId).toBe(first);
  });

  it('knows the key of a beginning that died on its way', async () => {
    await using serving = await start(backend);
    const call = client(serving.url);
    const { conversations: ofAgent } = serving.server.agent;
    const begin = ofAgent.start.bind(ofAgent);
    const wanted = { subDomain: 'north', userId: ANA };
    const key = { 'Idempotency-Key': randomUUID() };
    let made = false;
    ofAgent.start = async (...given) => {
      if (made) await begin(...given);
      throw new Error('died');
    };
    expect((await call('POST', '/conversations', wanted, key)).status).toBe(500);
    made = true;
    expect((await call('POST', '/conversations', wanted, key)).status).toBe(500);
    ofAgent.start = begin;
    const { sessionId } = (await call('GET', `/conversations/user/${ANA}`)).body;
    await call('POST', `/conversations/${sessionId}/end`);
    const again = await call('POST', '/conversations', wanted, key);
    expect([again.status, again.body.sessionId, again.body.isActive]).toEqual([201, sessionId, false]);
    // What is gone is begun again, and is there then.
    await serving.server.agent.context.scoped({ tenantId: 'north', userId: ANA }).clearContext(sessionId);
    for (let n = 0; n < 2; n++) {
      expect((await call('POST', '/conversations', wanted, key)).body).toMatchObject({ sessionId, isActive: true });
      await call('POST', `/conversations/${sessionId}/end`);
      expect((await call('POST', '/conversations', wanted, key)).body).toMatchObject({ sessionId, isActive: false });
      await serving.server.agent.context.scoped({ tenantId: 'north', userId: ANA }).clearContext(sessionId);
    }
  });

  it('changes nothing of a state that the caller has not seen', async () => {
    await using serving = await start(backend);
    const call = client(serving.url);
    const made = await call('POST', '/conversations', { subDomain: 'north', userId: ANA });
    const at = `/conversations/${made.body.sessionId}`;
    const etag = made.headers.get('etag') ?? '';
    const first = await call('PATCH', `${at}/context`, { context: { a: 1 } }, { 'If-Match': etag });
    expect([first.status, first.headers.get('etag') === etag]).toEqual([200, false]);
    const stale = await call('PATCH', `${at}/context`, { context: { a: 2 } }, { 'If-Match': etag });
    expect([stale.status, stale.body.code]).toEqual([412, 'CONFLICT']);
    const now = first.headers.get('etag') ?? '';
    const race = await Promise.all(
      [3, 4, 5].map((a) => call('PATCH', `${at}/context`, { context: { a } }, { 'If-Match': now })),
    );
    expect(race.map(({ status }) => status).sort()).toEqual([200, 412, 412]);
    const seen = await call('GET', at);
    expect((await call('GET', at, undefined, { 'If-None-Match': seen.headers.get('etag') ?? '' })).status).toBe(304);
  });

  it('shows what turns did, and turns see what it did', async () => {
    await using serving = await start(backend);
    const call = client(serving.url);
    const { agent } = serving.server;
    const { sessionId } = (await call('POST', '/conversations', { subDomain: 'north', userId: ANA })).body;
    const task = { id: 't', contextId: sessionId, tenantId: 'north', userId: ANA, text: 'count' };
    await agent.handle(task);
    expect((await call('GET', `/conversations/${sessionId}`)).body.context).toMatchObject({ n: 1 });
    await call('PATCH', `/conversations/${sessionId}/context`, { context: { n: 41 } });
    expect((await agent.handle(task)).text).toBe(`42 ${ANA}`);
    await agent.handle({ ...task, contextId: 'made by a turn', userId: '+51222222222' });
    expect((await call('GET', '/conversations/user/+51222222222?subDomain=north')).body).toMatchObject({
      sessionId: 'made by a turn',
      isActive: true,
      context: { n: 1 },
    });
  });

  it('lists the active ones of a tenant by page, each once', async () => {
    await using serving = await start(backend);
    const call = client(serving.url);
    const made = new Set<string>();
    for (let n = 0; n < 7; n++) {
      made.add((await call('POST', '/conversations', { subDomain: 'north', userId: `u${n}` })).body.sessionId);
    }
    const [gone] = made;
    await call('POST', `/conversations/${gone}/end`);
    made.delete(gone ?? '');
    await call('POST', '/conversations', { subDomain: 'north2', userId: 'u' });
    const seen: string[] = [];
    for (let cursor: string | null | undefined = ''; cursor !== null; ) {
      const query: string = `subDomain=north&active=true&limit=2${cursor ? `&cursor=${cursor}` : ''}`;
      const { body }: Answer = await call('GET', `/conversations?${query}`);
      seen.push(...(body.conversations ?? []).map((one) => one.sessionId));
      cursor = body.nextCursor;
    }
    expect(seen).toHaveLength(6);
    expect(new Set(seen)).toEqual(made);
  });

  it('lists by page while others write, and past an id as long as one may be', async () => {
    await using serving = await start(backend);
    const { agent } = serving.server;
    const call = client(serving.url);
    const steady = ['あ'.repeat(1024), 'x'.repeat(1024)];
    const begin = async (userId: string): Promise<string> =>
      (await call('POST', '/conversations', { subDomain: 'north', userId })).body.sessionId;
    for (const id of steady) await agent.conversations.start(id, { tenantId: 'north' });
    for (let n = 0; n < 10; n++) steady.push(await begin(`u${n}`));
    const seen: string[] = [];
    for (let cursor: string | null | undefined = ''; cursor !== null; ) {
      const query: string = `subDomain=north&limit=1${cursor ? `&cursor=${cursor}` : ''}`;
      const { status, body }: Answer = await call('GET', `/conversations?${query}`);
      expect([status, body.conversations?.length]).toEqual([200, 1]);
      seen.push(...(body.conversations ?? []).map((one) => one.sessionId));
      cursor = body.nextCursor;
      if (seen.length < 8) await begin(`more ${seen.length}`);
      await call('POST', `/conversations/${steady[2]}/messages`, { role: 'user', content: 'hello' });
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toEqual(expect.arrayContaining(steady));
    for (const id of steady) {
      expect((await call('GET', `/conversations/${encodeURIComponent(id)}?subDomain=north`)).status).toBe(200);
    }
  });
});

describe('the conversation API', () => {
  it('says what is wrong with a request, and where', async () => {
    await using serving = await start();
    const call = client(serving.url);
    const { sessionId } = (await call('POST', '/conversations', { subDomain: 'north', userId: ANA })).body;
    const messages = `/conversations/${sessionId}/messages`;
    const list = '/conversations?subDomain=north';
    const wrong: [string, string, unknown, string[]][] = [
      ...['', '!!!', '%00', 'A', 'aaaaa', 'a'.repeat(1999), '7f_-'].map(
        (cursor): [string, string, undefined, string[]] => [
          'GET',
          `${list}&cursor=${cursor}`,
          undefined,
          ['query.cursor'],
        ],
      ),
      ['GET', `${list}&limit=0`, undefined, ['query.limit']],
      ['GET', `${list}&limit=201`, undefined, ['query.limit']],
      ['GET', `/conversations/${sessionId}?messages=1001`, undefined, ['query.messages']],
      ['GET', `/conversations/${sessionId}?before=1`, undefined, ['query']],
      ['POST', messages, { role: 'user' }, ['body.content']],
      ['POST', messages, { role: 'guest', content: 'a' }, ['body.role']],
      ['POST', messages, { messages: [{ role: 'user', content: 'a' }, { role: 'user' }] }, ['body.messages.1.content']],
      ['POST', messages, [], ['body']],
    ];
    for (const [method, path, body, paths] of wrong) {
      const answer = await call(method, path, body);
      const at = answer.body.errors?.map((error) => error.path);
      expect([answer.status, answer.body.code, at], `${path} ${JSON.stringify(body)}`).toEqual([422, 'INVALID', paths]);
    }
  });

  it('opens to each key its own tenants, and to nobody without', async () => {
    await using serving = await start();
    const [north, all] = [client(serving.url), client(serving.url, ALL)];
    const { sessionId } = (await all('POST', '/conversations', { subDomain: 'south', userId: ANA })).body;
    const at = `/conversations/${sessionId}`;
    expect((await north('GET', at)).status).toBe(404);
    expect((await north('GET', `${at}?subDomain=south`)).status).toBe(404);
    expect((await north('PATCH', `${at}/context?subDomain=south`, { context: { a: 1 } })).status).toBe(404);
    expect((await north('GET', `/conversations/user/${ANA}?subDomain=south`)).status).toBe(404);
    expect((await north('GET', '/conversations?subDomain=south')).status).toBe(403);
    expect((await north('POST', '/conversations', { subDomain: 'south', userId: ANA })).status).toBe(403);
    expect((await all('GET', at)).status).toBe(422);
    expect((await all('GET', `${at}?subDomain=south`)).status).toBe(200);
    for (const key of ['', 'x', KEY.slice(0, -1), createHash('sha256').update(ALL).digest('hex')]) {
      const refused = await client(serving.url, key)('GET', at);
      expect([refused.status, refused.body.code]).toEqual([401, 'UNAUTHENTICATED']);
    }
    expect(serving.logged.join('')).not.toContain('service key');
  });

  it('finds tenant and conversation of a telephone number', async () => {
    await using serving = await start();
    const call = client(serving.url);
    expect((await call('GET', '/whatsapp/lookup/tenant/+51111111111')).body.subDomain).toBe('north2');
    expect((await call('GET', '/whatsapp/lookup/tenant/51111111111')).body.subDomain).toBe('north2');
    expect((await call('GET', `/whatsapp/lookup/conversation/${ANA}`)).status).toBe(404);
    const { sessionId } = (await call('POST', '/conversations', { subDomain: 'north', userId: ANA })).body;
    expect((await call('GET', `/whatsapp/lookup/conversation/${ANA.slice(1)}`)).body.conversation?.sessionId).toBe(
      sessionId,
    );
    expect((await call('GET', `/whatsapp/lookup/tenant/${ANA}`)).body.subDomain).toBe('north');
    expect((await call('GET', '/whatsapp/lookup/tenant/not-a-number')).status).toBe(422);
    const all = client(serving.url, ALL);
    expect((await all('GET', `/whatsapp/lookup/tenant/${ANA}`)).body.errors?.[0]?.path).toBe('query.subDomain');
    expect((await all('GET', `/whatsapp/lookup/tenant/${ANA}?subDomain=north`)).body.subDomain).toBe('north');
    expect((await call('GET', `/whatsapp/lookup/tenant/${ANA}?subDomain=north2`)).status).toBe(404);
  });

  it('remembers the newest keys under which a user has begun, and no more', async () => {
    await using serving = await start();
    const call = client(serving.url);
    const { storage } = serving.server.agent.context;
    const begin = async (n: number): Promise<string> => {
      const wanted = { subDomain: 'north', userId: ANA };
      return (await call('POST', '/conversations', wanted, { 'Idempotency-Key': `k${n}` })).body.sessionId;
    };
    const first = await begin(0);
    for (let n = 1; n < 40; n++) expect(await begin(n)).toBe(first);
    const known = await storage.read({ space: 'api-users', scope: ['north'], id: ANA });
    expect(known?.fields.size).toBe(32);
    expect((known?.expiresAt ?? 0) - Date.now()).toBeGreaterThan(6 * 86_400_000);
    await call('POST', `/conversations/${first}/end`);
    expect(await begin(39)).toBe(first);
    expect(await begin(0)).not.toBe(first);
  });

  it('has the effect of a request once also when what it left was encrypted with a key that is gone', async () => {
    const [first, second] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')];
    const storage_dir = join(directory, 'rotated');
    const on = (key: string): Promise<Serving> =>
      serve({ state: { backend: 'file', storage_dir, encryption: { key } }, conversations });
    const once = { 'Idempotency-Key': 'once' };
    const asks = async (serving: Serving) => {
      const call = client(serving.url);
      const begun = await call('POST', '/conversations', { subDomain: 'north', userId: ANA }, once);
      const at = `/conversations/${begun.body.sessionId}`;
      const said = await call('POST', `${at}/messages`, { role: 'user', content: 'a' }, once);
      return [begun.body.sessionId, said.status, said.body.messageCount, said.headers.get('idempotency-replayed')];
    };
    let before: unknown[];
    {
      await using serving = await on(first);
      before = await asks(serving);
      expect(before.slice(1)).toEqual([200, 1, null]);
    }
    const storage = await openStorage({ backend: 'file', storageDir: storage_dir });
    await reencrypt(storage, { key: second, previous: [first] });
    await storage.close();
    await using serving = await on(second);
    expect(await asks(serving)).toEqual([...before.slice(0, 3), 'true']);
  });

  it('refuses to be served without a key', async () => {
    await using agent = await createAgent({ state: { backend: 'memory' } });
    expect(() => createConversationApi(agent)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    await expect(createAgent({ state: { backend: 'memory' }, conversations: { serve: true } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });

  it('can be mounted in a server that is there', async () => {
    await using agent = await createAgent({ state: { backend: 'memory' }, conversations });
    const own = createServer(createConversationApi(agent));
    const answers: ServerResponse[] = [];
    own.on('request', (_request, response) => void answers.push(response));
    await new Promise<void>((resolve) => own.listen(0, '127.0.0.1', resolve));
    const call = client(`http://127.0.0.1:${(own.address() as AddressInfo).port}`);
    expect((await call('POST', '/conversations', { subDomain: 'north', userId: ANA })).status).toBe(201);
    expect((await call('GET', '/nothing')).status).toBe(404);
    expect(answers.map((answer) => answer.listenerCount('timeout'))).toEqual([1, 1]);
    // Nobody else catches what goes wrong here, and express would show it.
    const malformed = await call('GET', '/conversations/%E0%A4%A');
    expect([malformed.status, malformed.body]).toEqual([
      400,
      { type: 'about:blank', title: 'This is no address.', status: 400, code: 'INVALID' },
    ]);
    await new Promise((resolve) => own.close(resolve));
  });

  it('says within its bound that the storage is down, and nothing else', async () => {
    const own = await startValkey();
    await using serving = await serve({
      state: { backend: 'valkey', url: own.url, key_prefix: 'down:' },
      conversations,
    });
    await own.stop();
    const answer = await client(serving.url)('GET', '/conversations/x');
    expect([answer.status, answer.body.code]).toEqual([503, 'UNAVAILABLE']);
    expect(JSON.stringify(answer.body)).not.toMatch(/127\.0\.0\.1|valkey/i);
  });
});
