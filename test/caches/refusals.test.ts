import { Redis } from 'iovalkey';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CacheFactory, createCacheFactory, type TableCache } from '../../src/caches/index.js';
import { startValkey, type ValkeyServer } from '../support/index.js';

let server: ValkeyServer;
let admin: Redis;
let factory: CacheFactory;

beforeAll(async () => {
  server = await startValkey();
  admin = new Redis(server.url);
  factory = await createCacheFactory('valkey', { url: server.url });
});

afterAll(async () => {
  await factory.close();
  admin.disconnect();
  await server.stop();
});

const REFUSALS: [why: string, setting: string, refuse: string, accept: string][] = [
  ['is out of memory', 'maxmemory', '1', '0'],
  ['misses its replicas', 'min-replicas-to-write', '1', '0'],
];

const WRITES: [what: string, write: (table: TableCache, key: string) => Promise<unknown>][] = [
  [
    'replaceIf',
    (table, key) => table.replaceIf('jobs', key, { status: 'settled' }, { status: 'pending' }, { ttl: 900 }),
  ],
  ['set', (table, key) => table.set('jobs', key, { status: 'settled' }, { ttl: 900 })],
  ['setField', (table, key) => table.setField('jobs', key, 'status', 'settled')],
  [
    'replaceIf of an indexed table',
    (table, key) =>
      table
        .table('jobs', undefined, { indexes: ['status'] })
        .replaceIf(key, { status: 'settled' }, { status: 'pending' }),
  ],
];

const REFUSED = { code: expect.stringMatching(/^STORAGE_/) };

describe.each(REFUSALS)('a server that %s', (_why, setting, refuse, accept) => {
  it.each(WRITES)('%s: what it refuses leaves the row and its life as they were', async (what, write) => {
    const table = factory.createTableCache({ tenantId: 't' });
    const row = { status: 'pending', owner: 'ann' };
    const key = `${setting} ${what}`;
    await table.set('jobs', key, row, { ttl: 120 });
    let refused: unknown;
    await admin.call('CONFIG', 'SET', setting, refuse);
    try {
      refused = await write(table, key).then(
        () => undefined,
        (error) => error,
      );
      await expect(table.createIfAbsent('jobs', `${key} new`, row)).rejects.toMatchObject(REFUSED);
    } finally {
      await admin.call('CONFIG', 'SET', setting, accept);
    }
    expect(await table.exists('jobs', `${key} new`)).toBe(false);
    if (refused === undefined) {
      // A server out of memory lets a script go on that frees some first: then all of it must be there.
      expect(setting).toBe('maxmemory');
      expect(await table.getEntry('jobs', key)).toMatchObject({ value: { status: 'settled' }, ttl: 900 });
      return;
    }
    expect(refused).toMatchObject(REFUSED);
    expect(await table.get('jobs', key)).toEqual(row);
    expect(await table.getTtl('jobs', key)).toBeLessThanOrEqual(120);
    expect(await table.getTtl('jobs', key)).toBeGreaterThan(60);
    await write(table, key);
    expect(await table.get('jobs', key)).toMatchObject({ status: 'settled' });
  });
});
