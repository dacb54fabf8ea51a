import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createCaches } from '../../src/caches/index.js';
import { RowIndex } from '../../src/caches/row-index.js';
import { EncryptedStorage } from '../../src/storage/encryption/index.js';
import type { RecordKey } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { Change, CommitOptions, StateStorage } from '../../src/storage/state-storage.js';
import { TestClock } from '../support/test-clock.js';

/** Just before a row is written, somebody who saw it without this value gives the entry up. */
class GivenUpMeanwhile extends MemoryStorage {
  override async commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions) {
    if (key.space === 'cache-tables') await new RowIndex(this, ['who']).leave(key, new Map([['.who', '"x"']]));
    return super.commit(key, changes, options);
  }
}

it('a row keeps its entry, also where it was given up between the entry and the row', async () => {
  const clock = new TestClock();
  const storage = new GivenUpMeanwhile({ clock });
  const rows = createCaches({ storage, tenantId: 't', clock }).tableCache.table('rows', undefined, {
    indexes: ['who'],
  });
  await rows.set('k', { who: 'x' });
  clock.advance(3_600_000);
  expect(await rows.findByField('who', 'x')).toEqual([{ key: 'k', row: { who: 'x' } }]);
});

it('an entry that leads to no row is given up, in its time', async () => {
  const clock = new TestClock();
  const storage = new MemoryStorage({ clock });
  const rows = createCaches({ storage, tenantId: 't', clock }).tableCache.table('rows', undefined, {
    indexes: ['who'],
  });
  const index = new RowIndex(storage, ['who']);
  const row = { space: 'cache-tables', scope: ['t', 'rows'], id: 'never made' };
  await index.enter(row, undefined, new Map([['.who', '"x"']]), undefined);
  const keys = async () => {
    const found: string[] = [];
    for await (const key of index.keys(row.scope, 'who', 'x')) found.push(key);
    return found;
  };
  expect([await rows.findByField('who', 'x'), await keys()]).toEqual([[], ['never made']]);
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(3_600_000);
  expect(await keys()).toEqual([]);
});

describe('an index entry', () => {
  const clock = new TestClock();
  const open = (storage: StateStorage, ttl?: number) =>
    createCaches({ storage, tenantId: 't', clock }).tableCache.table('rows', undefined, { indexes: ['who'], ttl });
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  const entriesIn = async (storage: StateStorage) => {
    let count = 0;
    for await (const _ of storage.list({ space: 'cache-index' })) count++;
    return count;
  };
  const hour = 3_600_000;
  const found = [{ key: 'k', row: { who: 'x' } }];

  it('lives as long as the row that is there, whatever a writer that died was about to write', async () => {
    const storage = new MemoryStorage({ clock });
    const rows = open(storage);
    await rows.set('k', { who: 'x' });
    const commit = storage.commit.bind(storage);
    storage.commit = async (key, ...rest) => {
      if (key.space === 'cache-tables') throw new Error('died');
      return commit(key, ...rest);
    };
    await expect(rows.set('k', { who: 'x' }, { ttl: 1 })).rejects.toThrow('died');
    await expect(rows.setTtl('k', 1)).rejects.toThrow('died');
    storage.commit = commit;
    clock.advance(hour);
    expect(await rows.findByField('who', 'x')).toEqual(found);
  });

  it('lives as long as the row of the writer that won', async () => {
    const storage = new MemoryStorage({ clock });
    const rows = open(storage);
    const read = storage.read.bind(storage);
    storage.read = async (...args) => {
      const record = await read(...args);
      storage.read = read;
      await rows.set('k', { who: 'x' });
      return record;
    };
    expect(await rows.createIfAbsent('k', { who: 'x' }, { ttl: 1 })).toMatchObject({ status: 'already_exists' });
    clock.advance(hour);
    expect(await rows.findByField('who', 'x')).toEqual(found);
  });

  it('lives as long as the row of the writer that came last', async () => {
    const storage = new MemoryStorage({ clock });
    const rows = open(storage);
    const commit = storage.commit.bind(storage);
    storage.commit = async (key, ...rest) => {
      const answer = await commit(key, ...rest);
      if (key.space === 'cache-tables') {
        storage.commit = commit;
        await rows.set('k', { who: 'x' });
      }
      return answer;
    };
    await rows.set('k', { who: 'x' }, { ttl: 1 });
    clock.advance(hour);
    expect(await rows.findByField('who', 'x')).toEqual(found);
  });

  it('lives longer with a row that does, and goes with one that ends', async () => {
    const storage = new MemoryStorage({ clock });
    const rows = open(storage);
    await rows.set('k', { who: 'x' }, { ttl: 60 });
    for (let minute = 0; minute < 60; minute++) {
      clock.advance(59_000);
      await rows.set('k', { who: 'x' }, { ttl: 60 });
    }
    expect(await rows.findByField('who', 'x')).toEqual(found);
    await rows.setTtl('k', 'none');
    clock.advance(hour);
    expect(await rows.findByField('who', 'x')).toEqual(found);
    await rows.setTtl('k', 300);
    clock.advance(299_000);
    expect([await rows.findByField('who', 'x'), await entriesIn(storage)]).toEqual([found, 1]);
    clock.advance(200_000);
    expect(await entriesIn(storage)).toBe(0);
    await rows.set('k', { who: 'x' });
    await rows.set('k', { who: 'x' }, { ttl: 1 });
    clock.advance(200_000);
    expect(await entriesIn(storage)).toBe(0);
  });

  it('is kept for a row that is about to be written, where it is there for another, also from who shortens it', async () => {
    class EnteredMeanwhile extends MemoryStorage {
      override async commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions) {
        if (options?.carried) await new RowIndex(this, ['who']).enter(row, undefined, fields, undefined);
        return super.commit(key, changes, options);
      }
    }
    const storage = new EnteredMeanwhile({ clock });
    const index = new RowIndex(storage, ['who']);
    const row = { space: 'cache-tables', scope: ['t', 'rows'], id: 'k' };
    const fields = new Map([['.who', '"x"']]);
    const ends = async () => {
      for await (const { expiresAt } of storage.list({ space: 'cache-index' })) return expiresAt;
      return 0;
    };
    await index.enter(row, undefined, fields, 60);
    expect(await ends()).toBeGreaterThan(0);
    // Whoever does this may die when the row is written, and not come to make the entry once more.
    await index.enter(row, undefined, fields, undefined);
    expect(await ends()).toBeUndefined();
    await storage.commit(row, [{ op: 'set', field: '.who', value: '"x"' }], { expiry: { set: 60 } });
    await index.correct(row, 'who', 'x');
    expect(await ends()).toBeUndefined();
  });

  it('of no row ends, also where it is found again and again', async () => {
    const storage = new MemoryStorage({ clock });
    const rows = open(storage);
    await rows.set('k', { who: 'x' });
    await rows.delete('k');
    for (let i = 0; i < 10; i++) {
      clock.advance(60_000);
      expect(await rows.findByField('who', 'x')).toEqual([]);
      await settled();
    }
    expect(await entriesIn(storage)).toBe(0);
  });

  it('of a row that comes while its table is deleted stays, those of the others go', async () => {
    const storage = new MemoryStorage({ clock });
    const rows = open(storage);
    for (let i = 0; i < 120; i++) await rows.set(`row ${i}`, { who: 'x' });
    const remove = storage.delete.bind(storage);
    storage.delete = async (key) => {
      storage.delete = remove;
      // Before those that are still to be listed.
      await rows.set('k', { who: 'x' });
      return remove(key);
    };
    const read = storage.read.bind(storage);
    storage.read = async (...args) => {
      await settled();
      return read(...args);
    };
    expect(await rows.deleteAll()).toBe(120);
    storage.read = read;
    let lasting = 0;
    for await (const { expiresAt } of storage.list({ space: 'cache-index' })) if (expiresAt === undefined) lasting++;
    expect(lasting).toBe(1);
    clock.advance(hour);
    expect([await entriesIn(storage), await rows.findByField('who', 'x')]).toEqual([1, found]);
  });

  it('is not given up by who cannot read the row', async () => {
    const storage = new MemoryStorage({ clock });
    const sealed = open(new EncryptedStorage(storage, { key: randomBytes(32).toString('base64') }));
    await sealed.set('k', { who: 'x' });
    await expect(open(storage).findByField('who', 'x')).rejects.toMatchObject({ code: 'KEY_MISSING' });
    const row = { space: 'cache-tables', scope: ['t', 'rows'], id: 'k' };
    await expect(new RowIndex(storage, ['who']).correct(row, 'who', 'x')).rejects.toMatchObject({
      code: 'KEY_MISSING',
    });
    clock.advance(hour);
    expect(await sealed.findByField('who', 'x')).toEqual(found);
  });

  it('is not given up by who looked at the row before somebody wrote it', async () => {
    const storage = new MemoryStorage({ clock });
    const rows = open(storage);
    await rows.set('k', { who: 'x' });
    const read = storage.read.bind(storage);
    storage.read = async (key, options) => {
      const record = await read(key, options);
      if (key.space === 'cache-tables' && options?.fields) {
        storage.read = read;
        await rows.set('k', { who: 'x' });
      }
      return record;
    };
    await rows.delete('k');
    clock.advance(hour);
    expect(await rows.findByField('who', 'x')).toEqual(found);
  });

  it('lives as long as a row that is given another life while it is given another value', async () => {
    const storage = new MemoryStorage({ clock });
    const rows = open(storage);
    const read = storage.read.bind(storage);
    /** Once the row has been looked at, by who is to write it. */
    const meanwhile = (work: () => Promise<unknown>) => {
      storage.read = async (...args) => {
        const record = await read(...args);
        if (args[0].space === 'cache-tables') {
          storage.read = read;
          await work();
        }
        return record;
      };
    };
    await rows.set('written', { who: 'y' }, { ttl: 1 });
    meanwhile(() => rows.setTtl('written', 'none'));
    await rows.setField('written', 'who', 'x');
    await rows.set('extended', { who: 'y' }, { ttl: 1 });
    meanwhile(() => rows.setField('extended', 'who', 'x'));
    expect(await rows.setTtl('extended', 'none')).toBe(true);
    await rows.set('shortened', { who: 'x' }, { ttl: 1_000 });
    meanwhile(() => rows.setTtl('shortened', 1));
    await rows.set('shortened', { who: 'x' }, { ttl: 1_000 });
    clock.advance(999_000);
    const names = (await rows.findByField('who', 'x')).map(({ key }) => key);
    expect(names).toEqual(['extended', 'shortened', 'written']);
    await rows.set('deleted', { who: 'x' });
    meanwhile(() => rows.delete('deleted'));
    expect(await rows.setTtl('deleted', 1)).toBe(false);
  });

  it('lives as long as the row, also where the writer died when that was written', async () => {
    const storage = new MemoryStorage({ clock });
    const rows = open(storage);
    await rows.set('k', { who: 'x' }, { ttl: 60 });
    const commit = storage.commit.bind(storage);
    let isDead = false;
    storage.commit = async (key, ...rest) => {
      if (isDead) throw new Error('died');
      isDead = key.space === 'cache-tables';
      return commit(key, ...rest);
    };
    await expect(rows.setTtl('k', 'none')).rejects.toThrow('died');
    storage.commit = commit;
    clock.advance(hour);
    expect(await rows.findByField('who', 'x')).toEqual(found);
  });

  it('lives as long as a row whose life grows by little, again and again, and is slow to be written', async () => {
    const storage = new MemoryStorage({ clock });
    const rows = open(storage);
    for (const ttl of [60, 114, 168]) await rows.set('k', { who: 'x' }, { ttl });
    const commit = storage.commit.bind(storage);
    storage.commit = async (key, ...rest) => {
      if (key.space === 'cache-tables') clock.advance(5_000);
      return commit(key, ...rest);
    };
    await rows.set('k', { who: 'x' }, { ttl: 178 });
    clock.advance(177_000);
    expect(await rows.findByField('who', 'x')).toEqual(found);
  });

  it('of what a row no longer holds ends, and none is made for what is refused', async () => {
    const storage = new MemoryStorage({ clock });
    const rows = open(storage);
    await rows.set('k', { who: 'y' });
    await rows.set('k', { who: 'x' });
    clock.advance(hour);
    expect(await entriesIn(storage)).toBe(1);
    await expect(rows.set('other', { who: 'x' }, { ttl: 0 })).rejects.toMatchObject({ code: 'TTL_INVALID' });
    await expect(rows.setField('k', 'who', 'y', { ttl: -5 })).rejects.toMatchObject({ code: 'TTL_INVALID' });
    expect(await entriesIn(storage)).toBe(1);
  });

  it('goes with its generation', async () => {
    const storage = new MemoryStorage({ clock });
    const { tableCache } = createCaches({ storage, tenantId: 't', clock });
    const rows = tableCache.table('rows', undefined, { indexes: ['who'], versioned: true });
    await rows.set('k', { who: 'x' });
    await rows.bumpVersion();
    await expect.poll(() => entriesIn(storage), { interval: 1 }).toBe(0);
  });

  it('is made to live longer by many at once, and lives as long as the longest of them', async () => {
    const storage = new MemoryStorage({ clock });
    const rows = open(storage);
    await rows.set('k', { who: 'x' }, { ttl: 60 });
    await rows.set('k', { who: 'x' }, { ttl: 1_000 });
    clock.advance(900_000);
    expect(await rows.findByField('who', 'x')).toEqual(found);
    await rows.set('k', { who: 'x' }, { ttl: 60 });
    const version = (await rows.at('k').getEntry())?.version ?? '';
    const commit = storage.commit.bind(storage);
    storage.commit = async (key, ...rest) => {
      const answer = await commit(key, ...rest);
      if (key.space === 'cache-index') {
        storage.commit = commit;
        await rows.set('k', { who: 'x', n: 2 });
      }
      return answer;
    };
    await expect(rows.set('k', { who: 'x' }, { ttl: 5_000, version })).rejects.toMatchObject({ code: 'CONFLICT' });
    clock.advance(2 * hour);
    expect(await rows.findByField('who', 'x')).toHaveLength(1);
  });

  it('is made again for the longer life of a row, where somebody had shortened it before that was written', async () => {
    const storage = new MemoryStorage({ clock });
    const rows = open(storage);
    await rows.set('k', { who: 'x' }, { ttl: 60 });
    const commit = storage.commit.bind(storage);
    storage.commit = async (key, ...rest) => {
      if (key.space === 'cache-tables') await new RowIndex(storage, ['who']).leave(key, new Map([['.who', '"x"']]));
      return commit(key, ...rest);
    };
    await rows.set('k', { who: 'x' });
    clock.advance(hour);
    expect(await rows.findByField('who', 'x')).toEqual(found);
  });
});
