import { afterAll, expect, it } from 'vitest';
import { createAgent } from '../src/agent/create-agent.js';
import { createCaches } from '../src/caches/create-caches.js';
import { type AgentUpError, isAgentUpError } from '../src/errors.js';
import { createAgentServer, createConversationApi } from '../src/server/index.js';
import { tool } from '../src/skill/tool.js';
import { EmbeddedStorage } from '../src/storage/embedded-storage.js';
import { EncryptedStorage } from '../src/storage/encryption/encrypted-storage.js';
import { FileStorage } from '../src/storage/file/file-storage.js';
import { ForwardingStorage } from '../src/storage/forwarding-storage.js';
import { MemoryStorage } from '../src/storage/memory-storage.js';
import { MemoryStore } from '../src/storage/memory-store.js';
import { ValkeyStorage } from '../src/storage/valkey/valkey-storage.js';
import { ConversationClient, ConversationSync, createSync } from '../src/sync/index.js';

const agent = createAgent({ state: { backend: 'memory' } }, { skills: [] });
afterAll(async () => (await agent).close());

// What JavaScript lets pass: the types refuse all of it.
const without = undefined as never;
const text = './states' as never;

it.each<readonly [string, () => unknown, fix: string]>([
  ['FileStorage', () => new FileStorage(without), 'new FileStorage({ storageDir:'],
  ['FileStorage and a path', () => new FileStorage(text), 'new FileStorage({ storageDir:'],
  ['FileStorage and another key', () => new FileStorage({ directory: 'x' } as never), 'storageDir:'],
  ['MemoryStorage and null', () => new MemoryStorage(null as never), 'new MemoryStorage()'],
  ['EmbeddedStorage', () => new EmbeddedStorage(without), 'new EmbeddedStorage(store)'],
  ['EmbeddedStorage and options', () => new EmbeddedStorage({ ttl: 5 } as never), 'new EmbeddedStorage(store)'],
  ['EmbeddedStorage and null', () => new EmbeddedStorage(new MemoryStore(), null as never), '{ ttl }'],
  ['ValkeyStorage', () => new ValkeyStorage(without), "url: 'valkey://localhost:6379', keyPrefix:"],
  ['ValkeyStorage and no url', () => new ValkeyStorage({ keyPrefix: 'a:' }), "url: 'valkey://localhost:6379'"],
  ['ValkeyStorage and no prefix', () => new ValkeyStorage({ url: 'valkey://a' } as never), "keyPrefix: 'my-agent:'"],
  ['a client of others', () => new ValkeyStorage({ client: {}, keyPrefix: 'a:' } as never), 'of iovalkey'],
  ['EncryptedStorage', () => new EncryptedStorage(new MemoryStorage(), without), '{ key }'],
  ['EncryptedStorage and no storage', () => new EncryptedStorage(without, without), 'new MemoryStorage()'],
  ['ForwardingStorage', () => new ForwardingStorage({} as never), 'new MemoryStorage()'],
  ['createCaches()', () => createCaches(without), 'createCaches({ storage, tenantId, userId })'],
  ['createAgentServer()', () => createAgentServer(without), 'createAgent()'],
  ['an agent not awaited', () => createAgentServer(agent as never), 'await createAgent() first'],
  ['createConversationApi()', () => createConversationApi(without), 'createAgent()'],
  ['ConversationClient', () => new ConversationClient(text), 'new ConversationClient({ baseUrl,'],
  ['ConversationSync', () => new ConversationSync(without), 'new ConversationSync({ storage,'],
  ['createSync()', () => createSync(without), 'createSync(agent)'],
  ['createSync() and an agent not awaited', () => createSync(agent as never), 'await createAgent() first'],
  ['@tool()', () => tool(without), '@tool({ description:'],
])('%s without what it needs says what to write', async (_, call, fix) => {
  const error = await Promise.resolve()
    .then(call)
    .then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
  expect(isAgentUpError(error, 'INVALID_ARGUMENT'), String(error)).toBe(true);
  expect((error as AgentUpError).details.fix).toContain(fix);
});
