import { expect, it } from 'vitest';
import { createCaches } from '../../src/caches/index.js';
import { RowIndex } from '../../src/caches/row-index.js';
import type { RecordKey } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { Change, CommitOptions } from '../../src/storage/state-storage.js';
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
  await index.enter(row, new Map([['.who', '"x"']]), undefined);
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
