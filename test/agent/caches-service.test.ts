import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'iovalkey';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createAgent } from '../../src/agent/create-agent.js';
import { createCacheFactory } from '../../src/caches/index.js';
import type { AgentConfigInput } from '../../src/config/index.js';
import type { Logger } from '../../src/logger.js';
import { withState } from '../../src/skill/with-state.js';
import { startValkey, type ValkeyServer } from '../support/index.js';

let server: ValkeyServer;
let admin: Redis;
let url: string;
let storageDir: string;

beforeAll(async () => {
  server = await startValkey(['--requirepass', 's3cret']);
  url = `valkey://:s3cret@127.0.0.1:${server.port}`;
  admin = new Redis(url);
  storageDir = await mkdtemp(join(tmpdir(), 'agentup-services-'));
});

afterAll(async () => {
  admin.disconnect();
  await server.stop();
  await rm(storageDir, { recursive: true, force: true });
});

const task = { id: 't', contextId: 'c', text: 'hi', tenantId: 'shop', userId: 'ann' };
const visits = withState(async function countVisits(_task, context, id) {
  await context.incrementVariable(id, 'turns');
  return context.caches.userCache.incrementField('visits');
});
const own = withState(
  async function countOwn(_task, context) {
    return context.caches.userCache.incrementField('visits');
  },
  { storage: 'memory' },
);

async function keysIn(database: number): Promise<string[]> {
  await admin.select(database);
  return (await admin.keys('*')).sort();
}

const configured = (config: AgentConfigInput): AgentConfigInput => ({
  state: { backend: 'file', storage_dir: storageDir },
  ...config,
});

it('the caches of an agent lie on the service that its configuration names, in its database, under its prefix', async () => {
  await admin.flushall();
  const services = { valkey: { type: 'valkey', config: { url, db: 3, key_prefix: 'mine:' } } };
  const config = configured({ services, caches: { service: 'valkey' } });
  const agent = await createAgent(config, { skills: [visits, own] });
  expect(await agent.handle(task, { skill: 'countVisits' })).toMatchObject({ value: 1 });
  // A handler with a storage of its own has the agent's caches all the same.
  expect(await agent.handle(task, { skill: 'countOwn' })).toMatchObject({ value: 2 });
  expect(await agent.context.scoped({ tenantId: 'shop', userId: 'ann' }).caches.userCache.get()).toEqual({ visits: 2 });
  await agent.close();
  const keys = await keysIn(3);
  expect(keys.length).toBeGreaterThan(0);
  expect(keys.every((key) => key.startsWith('mine:'))).toBe(true);
  expect([await keysIn(0), await keysIn(1)]).toEqual([[], []]);
  // Nothing of them is beside the conversations, which are where `state` says.
  const beside = await createAgent(configured({}), { skills: [visits] });
  const scoped = beside.context.scoped({ tenantId: 'shop', userId: 'ann' });
  expect(await scoped.getVariable('c', 'turns')).toBe(1);
  expect(await scoped.caches.userCache.exists()).toBe(false);
  await beside.close();
});

it('no service is taken because of its name or type', async () => {
  await admin.flushall();
  const services = { valkey: { type: 'valkey', config: { url } }, cache: { type: 'cache', config: { url } } };
  const agent = await createAgent(configured({ services }), { skills: [visits] });
  await agent.handle(task);
  await agent.close();
  expect(await keysIn(0)).toEqual([]);
});

it('without a prefix the entries are those of createCacheFactory; with the url as text they come from the environment', async () => {
  await admin.flushall();
  const file = join(storageDir, 'agent_config.yaml');
  const yaml = [
    'services: { fast: { type: cache, config: { url: "${CACHE_URL}/2" } } }',
    'caches: { service: fast, warn_bytes: 100 }',
    'state: { backend: memory }',
  ];
  await writeFile(file, yaml.join('\n'));
  const warnings: unknown[][] = [];
  const logger = {
    debug() {},
    info() {},
    error() {},
    warn: (...args: unknown[]) => warnings.push(args),
  } as unknown as Logger;
  const agent = await createAgent(file, { env: { CACHE_URL: url }, skills: [visits], logger });
  await agent.handle(task);
  const { tableCache } = agent.context.scoped({ tenantId: 'shop' }).caches;
  await tableCache.set('products', 'pizza', { text: 'x'.repeat(50) });
  expect(warnings).toEqual([]);
  await tableCache.set('products', 'pizza', { text: 'x'.repeat(100) });
  expect(String(warnings[0]?.[1])).toMatch(/shop:df:products:pkid:pizza is given 1\d\d bytes/);
  await agent.close();
  const factory = await createCacheFactory('valkey', { url: `${url}/2` });
  expect(await factory.for('shop', 'ann').userCache.get()).toEqual({ visits: 1 });
  await factory.close();
});

it('when the service refuses or is down cache calls fail without its password, and conversations go on', async () => {
  const wrong = url.replace('s3cret', 'wr0ng');
  const agent = await createAgent(
    configured({ services: { valkey: { type: 'valkey', config: { url: wrong } } }, caches: { service: 'valkey' } }),
    { skills: [visits] },
  );
  const context = agent.context.scoped({ tenantId: 'shop', userId: 'ann' });
  const error = await agent.handle(task).catch((reason) => reason);
  expect(error.code).toMatch(/^STORAGE_/);
  expect(`${error.message} ${error.stack} ${JSON.stringify(error)}`).not.toContain('wr0ng');
  await context.setVariable('other', 'x', 1);
  expect(await context.getVariable('other', 'x')).toBe(1);
  await agent.close();
});
