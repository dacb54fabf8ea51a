import { describe, expect, it } from 'vitest';
import { createAgent } from '../../src/agent/create-agent.js';
import { validateConfigText } from '../../src/config/index.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { createSync } from '../../src/sync/create-sync.js';
import { settingsOf } from '../../src/sync/sync-settings.js';
import { ConversationRemote } from '../support/conversation-remote.js';

const section = (text: string) => validateConfigText(`agent: { name: a }\nsync: ${text}\n`, { env: { KEY: 'k' } });

describe('the settings', () => {
  it('come from the section, with its defaults', () => {
    const { config, findings } = section(
      '{ url: "https://a.example/api/v1", api_key: "${KEY}", sub_domain: shop, timeout: 500, outbox: { max: 7, at_limit: reject } }',
    );
    expect(findings).toEqual([]);
    expect(settingsOf(config?.sync, { CONVERSATION_API_BASE_URL: 'https://other.example' })).toEqual({
      enabled: true,
      client: { baseUrl: 'https://a.example/api/v1', apiKey: 'k', subDomain: 'shop', timeoutMs: 500 },
      subDomain: 'shop',
      source: 'agentup',
      outbox: { max: 7, atLimit: 'reject' },
    });
    expect(section('{}').config?.sync).toMatchObject({
      enabled: true,
      outbox: { max: 10_000, at_limit: 'drop_oldest' },
    });
  });

  it.each([
    [
      { CONVERSATION_API_BASE_URL: 'https://a.example', CONVERSATION_API_KEY: 'k', CONVERSATION_API_TIMEOUT: '2.5' },
      2_500,
    ],
    [{ CARTAAI_API_BASE_URL: 'https://a.example', CARTAAI_API_KEY: 'k' }, undefined],
  ])('come from the environment: %j', (env, timeoutMs) => {
    expect(settingsOf(undefined, env).client).toEqual({ baseUrl: 'https://a.example', apiKey: 'k', timeoutMs });
  });

  it.each([
    [undefined, { ENABLE_CONVERSATION_SYNC: 'false' }],
    [section('{ url: "https://a.example", api_key: "${KEY}" }').config?.sync, { ENABLE_CONVERSATION_SYNC: 'FALSE' }],
    [section('{ enabled: false }').config?.sync, { ENABLE_CONVERSATION_SYNC: 'true' }],
  ])('can be switched off on either side', (config, env) => {
    expect(settingsOf(config, env)).toEqual({ enabled: false });
  });

  it.each([
    [{}, 'url'],
    [{ CONVERSATION_API_BASE_URL: 'https://a.example' }, 'api_key'],
    [
      { CONVERSATION_API_BASE_URL: 'https://a.example', CONVERSATION_API_KEY: 'k', CONVERSATION_API_TIMEOUT: '1e' },
      'CONVERSATION_API_TIMEOUT',
    ],
  ])('are refused where they are not whole: %j', (env, argument) => {
    expect(() => settingsOf(undefined, env)).toThrowError(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', details: expect.objectContaining({ argument }) }),
    );
  });

  it.each([
    ['{ api_key: s3cret-k3y }', 'SECRET_IN_FILE', 'sync.api_key'],
    ['{ url: "ftp://a" }', 'INVALID_VALUE', 'sync.url'],
    ['{ outbox: { at_limit: grow } }', 'INVALID_VALUE', 'sync.outbox.at_limit'],
    ['{ outbox: { max: 0 } }', 'INVALID_VALUE', 'sync.outbox.max'],
    ['{ uri: x }', 'UNKNOWN_KEY', 'sync.uri'],
  ])('are checked in the file: %s', (text, code, path) => {
    const { findings } = section(text);
    expect(findings).toMatchObject([{ code, path }]);
    expect(JSON.stringify(findings)).not.toContain('s3cret-k3y');
  });
});

it('is made for an agent, on its storage', async () => {
  await using remote = await new ConversationRemote().start();
  const agent = await createAgent({
    state: { backend: 'memory' },
    sync: { url: remote.url, api_key: 'test-key', sub_domain: 'shop' },
  });
  const sync = createSync(agent, { env: {}, background: false });
  {
    await using conversation = await sync.open({ userId: 'ana', localId: 'c1' });
    void conversation.addUserMessage('hi');
    void conversation.addBotMessage('hello');
    void conversation.syncState({ cart: { items: [], total: 0 } });
    void conversation.linkOrder('o1');
  }
  // Whoever leaves the block has everything in the outbox.
  expect(await sync.status()).toMatchObject({ pending: 5 });
  await sync.flush();
  expect(await remote.said('ana')).toEqual(['hi', 'hello']);
  expect((await remote.of('ana'))[0]).toMatchObject({ subDomain: 'shop', localId: 'c1', currentOrderId: 'o1' });
  await sync.close();
  await agent.close();
});

describe('a call never breaks the app', () => {
  const client = { baseUrl: 'http://127.0.0.1:9', apiKey: 'k' };

  it('says what cannot be noted, and does not throw it', async () => {
    await using sync = createSync({ storage: new MemoryStorage() }, { client, background: false, env: {} });
    const lost: unknown[] = [];
    sync.on('failed', (event) => lost.push(event));
    sync.on('failed', () => {
      throw new Error('a listener');
    });
    const user = { userId: 'ana', subDomain: 'shop' };
    expect(await sync.addMessage('ana', 'user', 'no tenant')).toMatchObject({
      status: 'failed',
      error: { code: 'INVALID_ARGUMENT', details: { argument: 'subDomain' } },
    });
    expect(await sync.addMessage(user, 'robot' as 'bot', 'x')).toMatchObject({ status: 'failed' });
    expect(await sync.syncState(user, { payment_method: () => 1 })).toMatchObject({
      error: { code: 'VALUE_NOT_JSON' },
    });
    expect(await sync.linkOrder(user, '')).toMatchObject({ error: { details: { argument: 'orderId' } } });
    expect(lost).toHaveLength(4);
    expect(lost).toMatchObject([{ lost: true }, {}, {}, {}]);
  });

  it('ends within its bound where the storage hangs', async () => {
    const storage = new MemoryStorage();
    storage.commit = () => new Promise(() => {});
    await using sync = createSync({ storage }, { client, subDomain: 'shop', background: false, boundMs: 50, env: {} });
    const begun = performance.now();
    expect(await sync.addMessage('ana', 'user', 'x')).toMatchObject({
      status: 'failed',
      error: { code: 'STORAGE_UNAVAILABLE' },
    });
    expect(performance.now() - begun).toBeLessThan(1_000);
  });
});
