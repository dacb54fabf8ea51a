import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'iovalkey';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CacheFactory, createCacheFactory } from '../../src/caches/index.js';
import { startValkey, type ValkeyServer } from '../support/index.js';

describe('on Valkey', () => {
  let server: ValkeyServer;
  let factory: CacheFactory;
  let admin: Redis;
  beforeAll(async () => {
    server = await startValkey();
    factory = await createCacheFactory('  VALKEY ', { url: server.url });
    admin = new Redis(server.url);
  });
  afterAll(async () => {
    await factory.close();
    admin.disconnect();
    await server.stop();
  });

  const sent = async (): Promise<string> =>
    /evalsha:calls=\d+/.exec(String(await admin.info('commandstats')))?.[0] ?? '';

  /** The commands that clients have sent while `work` ran, and those that scripts ran in it. */
  async function commandsOf(work: () => Promise<unknown>): Promise<Map<string, number>> {
    // What earlier calls do on the side, for the index, comes to its end first.
    for (let before = '', now = await sent(); before !== now; now = await sent()) {
      before = now;
      await delay(30);
    }
    await admin.call('CONFIG', 'RESETSTAT');
    await work();
    const text = String(await admin.info('commandstats'));
    return new Map(
      [...text.matchAll(/cmdstat_([^:]+):calls=(\d+)/g)].map(([, name = '', calls]) => [name, Number(calls)]),
    );
  }

  it('one operation on a known entry is one call of a script', async () => {
    const { stateCache } = factory.for('t', 'u');
    await stateCache.set('a', { n: 1, list: [] }, { ttl: 60 });
    const operations: Record<string, () => Promise<unknown>> = {
      get: () => stateCache.get('a'),
      set: () => stateCache.set('a', { n: 1, list: [] }, { ttl: 60 }),
      patch: () => stateCache.patch('a', { m: 1 }),
      setField: () => stateCache.setField('a', 'm', 2),
      incrementField: () => stateCache.incrementField('a', 'n'),
      appendToList: () => stateCache.appendToList('a', 'list', 1),
      getField: () => stateCache.getField('a', 'n'),
      getTtl: () => stateCache.getTtl('a'),
      setTtl: () => stateCache.setTtl('a', 90),
      exists: () => stateCache.exists('a'),
    };
    // The first call of a script carries it to the server.
    for (const operation of Object.values(operations)) await operation();
    for (const [name, operation] of Object.entries(operations)) {
      const commands = await commandsOf(operation);
      expect((commands.get('evalsha') ?? 0) + (name === 'get' ? (commands.get('hgetall') ?? 0) : 0), name).toBe(1);
      for (const never of ['ping', 'keys', 'scan', 'config|set', 'eval', 'exec'])
        expect(commands.has(never)).toBe(false);
    }
  });

  it('all of 1,000 rows come in three round trips, in one of them together', async () => {
    const { tableCache } = factory.for('t');
    await Promise.all(Array.from({ length: 1_000 }, (_, i) => tableCache.set('many', `row ${i}`, { i })));
    let rows: unknown[] = [];
    const commands = await commandsOf(async () => {
      rows = await tableCache.getAll('many');
    });
    expect(rows).toHaveLength(1_000);
    // One page of the index, and the rows, which are all asked for before the first has come.
    expect(commands.get('zrange')).toBe(1);
    expect(commands.get('hgetall')).toBe(1_000);
    for (const never of ['ping', 'keys', 'scan']) expect(commands.has(never)).toBe(false);
  });

  it('finding, listing and expiry actions search no keys, and configure nothing', async () => {
    const { stateCache, tableCache, expiry } = factory.for('t', 'u');
    const table = tableCache.table('found', undefined, { indexes: ['a'], versioned: true });
    const commands = await commandsOf(async () => {
      await table.set('k', { a: 1 });
      await table.findByField('a', 1);
      await table.bumpVersion();
      for await (const _ of stateCache.names());
      for await (const _ of stateCache.usersIn('a'));
      await stateCache.deleteAll();
      await expiry.set('a', 'x', { ttl: 60 });
      await expiry.runDue('a', () => {});
    });
    for (const never of ['keys', 'scan', 'config|set', 'ping', 'subscribe', 'psubscribe']) {
      expect(commands.has(never), never).toBe(false);
    }
  });
});

describe('createCacheFactory', () => {
  it('knows its backends by name, whatever the case', async () => {
    const factory = await createCacheFactory('  MEMORY  ');
    expect(factory.storage.backend).toBe('memory');
    const scope = { tenantId: 't', userId: 'u' };
    await factory.createStateCache(scope).set('a', { n: 1 });
    await factory.createUserCache(scope).set({ n: 2 });
    await factory.createTableCache(scope).set('t', 'k', { n: 3 });
    expect(await factory.for('t', 'u').stateCache.get('a')).toEqual({ n: 1 });
    await factory.close();
    await factory.close();
    await expect(factory.for('t').tableCache.get('t', 'k')).rejects.toMatchObject({ code: 'STORAGE_CLOSED' });
    const error = await createCacheFactory('redis').catch((reason) => reason);
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { fix: 'use one of memory, file, valkey' } });
    await expect(createCacheFactory('valkey')).rejects.toMatchObject({ details: { argument: 'url' } });
  });
});
