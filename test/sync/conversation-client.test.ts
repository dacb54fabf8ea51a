import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OPERATIONS } from '../../src/conversation-api/operations.js';
import { ConversationClient, type ConversationClientOptions } from '../../src/sync/conversation-client.js';
import { ConversationRemote } from '../support/conversation-remote.js';

let remote: ConversationRemote;
beforeEach(async () => {
  remote = await new ConversationRemote().start();
});
afterEach(() => remote[Symbol.asyncDispose]());

const pauses: number[] = [];
const clientOf = (options: Partial<ConversationClientOptions> = {}) =>
  new ConversationClient({
    baseUrl: remote.url,
    apiKey: 'test-key',
    subDomain: 'shop',
    timeoutMs: 5_000,
    random: () => 0.5,
    sleep: async (ms) => void pauses.push(ms),
    ...options,
  });
beforeEach(() => void pauses.splice(0));

it('has every call of the API, on connections that stay open', async () => {
  const client = clientOf();
  const { sessionId } = await client.create({ userId: '51999888777', botId: 'b' });
  expect(await client.get(sessionId)).toMatchObject({ sessionId, userId: '51999888777', botId: 'b', replayed: false });
  expect(await client.ofUser('51999888777')).toMatchObject({ sessionId });
  expect((await client.list({ limit: 5 })).conversations).toHaveLength(1);
  expect(await client.setIntent(sessionId, { currentIntent: 'menu' })).toMatchObject({ currentIntent: 'menu' });
  expect(await client.mergeContext(sessionId, { orderTotal: 3 })).toMatchObject({ context: { orderTotal: 3 } });
  await client.addMessages(sessionId, { role: 'user', content: 'one' });
  expect(await client.addMessages(sessionId, [{ role: 'bot', content: 'two' }], { messages: 1 })).toMatchObject({
    messageCount: 2,
    lastUserMessage: 'one',
    context: { previousMessages: [{ role: 'assistant', content: 'two' }] },
  });
  expect(await client.linkOrder(sessionId, 'o1')).toMatchObject({ currentOrderId: 'o1', orderHistory: ['o1'] });
  expect(await client.sync(sessionId, { metadata: { a: 1 }, currentStep: 's' })).toMatchObject({ metadata: { a: 1 } });
  expect(await client.extend(sessionId, 60)).toMatchObject({ sessionId });
  expect(await client.tenantOfPhone('51999888777')).toEqual({ phone: '+51999888777', subDomain: 'shop' });
  expect((await client.conversationOfPhone('51999888777')).conversation).toMatchObject({ sessionId });
  expect(await client.reset(sessionId)).toMatchObject({ messageCount: 0 });
  const all = [];
  for await (const { userId } of client.listAll()) all.push(userId);
  expect(all).toEqual(['51999888777']);
  expect(await client.end(sessionId)).toMatchObject({ isActive: false });
  expect(new Set(remote.seen.map(({ name }) => name))).toEqual(new Set(Object.keys(OPERATIONS)));
  // Of seventeen requests: the platform may open a second one while the first is not ready.
  expect(remote.connections).toBeLessThanOrEqual(2);
});

it('takes ids of any kind', async () => {
  const userId = 'a/../b?c#d é';
  const { sessionId } = await clientOf().create({ userId });
  expect(await clientOf().ofUser(userId)).toMatchObject({ sessionId, userId });
});

it('tries again what may pass, with full jitter, and under the same key', async () => {
  const client = clientOf({ retries: 3, backoff: { baseMs: 100, maxMs: 250 } });
  let requests = 0;
  remote.mood = () =>
    ++requests === 1 ? 'drop' : requests === 2 ? { status: 503 } : requests === 3 ? { status: 500 } : 'up';
  const { sessionId } = await client.create({ userId: 'ana' });
  expect(pauses).toEqual([50, 100, 125]);
  expect(new Set(remote.seen.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
  expect(await remote.of('ana')).toHaveLength(1);

  requests = 0;
  remote.mood = () => (++requests === 1 ? 'drop' : 'up');
  expect(await client.addMessages(sessionId, { role: 'user', content: 'once' })).toMatchObject({ replayed: true });
  expect(await remote.said('ana')).toEqual(['once']);
});

it('waits for as long as it is asked to, but not for ever', async () => {
  let requests = 0;
  remote.mood = () => (++requests === 1 ? { status: 429, retryAfter: '7' } : 'up');
  await clientOf().create({ userId: 'ana' });
  expect(pauses).toEqual([7_000]);
  remote.mood = () => ({ status: 503, retryAfter: '3600' });
  await expect(clientOf().ofUser('ana')).rejects.toMatchObject({
    code: 'SYNC_UNAVAILABLE',
    details: { status: 503, reason: 'FAULT', retryAfterMs: 3_600_000 },
  });
  expect(pauses).toHaveLength(1);
});

describe('errors', () => {
  it('says what happened by code, and does not try again what will not pass', async () => {
    const client = clientOf({ retries: 5 });
    await expect(client.get('nobody')).rejects.toMatchObject({
      code: 'SYNC_NOT_FOUND',
      details: { status: 404, reason: 'NOT_FOUND' },
    });
    const { sessionId, etag } = await client.create({ userId: 'ana' });
    await client.setIntent(sessionId, { currentIntent: 'menu' }, { ifMatch: etag });
    await expect(client.setIntent(sessionId, { currentIntent: 'order' }, { ifMatch: etag })).rejects.toMatchObject({
      code: 'CONFLICT',
      details: { status: 412 },
    });
    await expect(client.addMessages(sessionId, { role: 'robot' as 'bot', content: '' })).rejects.toMatchObject({
      code: 'SYNC_REFUSED',
      details: { status: 422, reason: 'INVALID' },
    });
    await expect(clientOf({ apiKey: 'wrong-s3cret' }).get(sessionId)).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
    expect(pauses).toEqual([]);
  });

  it('ends in time where there is no answer, or nobody', async () => {
    remote.mood = () => ({ slowMs: 5_000 });
    const begun = performance.now();
    await expect(clientOf({ timeoutMs: 100, retries: 1 }).ofUser('ana')).rejects.toMatchObject({
      code: 'SYNC_UNAVAILABLE',
      message: expect.stringContaining('no answer in time'),
    });
    expect(performance.now() - begun).toBeLessThan(2_000);
    await remote.stop();
    const error = await clientOf({ retries: 0 })
      .ofUser('ana')
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'SYNC_UNAVAILABLE', message: expect.stringContaining('cannot be reached') });
    expect(String(error)).not.toContain('test-key');
  });

  it('ends when its caller wants it to', async () => {
    remote.mood = () => ({ slowMs: 5_000 });
    const caller = new AbortController();
    const asked = clientOf().ofUser('ana', { signal: caller.signal });
    setTimeout(() => caller.abort(), 20);
    await expect(asked).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('sends its key to nobody else', async () => {
    const asked: (string | null)[] = [];
    const send: typeof fetch = async (input, init) => {
      asked.push(init?.redirect ?? null);
      return fetch(input, init);
    };
    await clientOf({ fetch: send }).create({ userId: 'ana' });
    expect(asked).toEqual(['error']);
  });

  it.each([
    ['not a url', 'baseUrl'],
    ['ftp://host', 'baseUrl'],
  ])('refuses %s', (baseUrl, argument) => {
    expect(() => clientOf({ baseUrl })).toThrowError(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', details: { argument } }),
    );
  });
});

it('takes a root with or without the path of the API', async () => {
  await clientOf({ baseUrl: `${remote.url}/api/v1/` }).create({ userId: 'ana' });
  await clientOf({ baseUrl: `${remote.url}/` }).create({ userId: 'ana' });
  await expect(clientOf({ baseUrl: `${remote.url}/other` }).create({ userId: 'ana' })).rejects.toMatchObject({
    code: 'SYNC_NOT_FOUND',
  });
});
