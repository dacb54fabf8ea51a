import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { withState } from '../../src/index.js';
import { exportRecords, importRecords, type MigrateProgress, migrate } from '../../src/operations/index.js';
import { readWhole } from '../../src/operations/whole-record.js';
import { writeWhole } from '../../src/operations/write-record.js';
import { ForwardingStorage } from '../../src/storage/forwarding-storage.js';
import type { RecordKey } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';
import type { Change, CommitOptions, ReadOptions, StateStorage } from '../../src/storage/state-storage.js';
import { valkeyUrl } from '../support/index.js';

const root = mkdtempSync(join(tmpdir(), 'agentup-replies-'));
const opened: StateStorage[] = [];
afterAll(async () => {
  for (const storage of opened) await storage.close();
  rmSync(root, { recursive: true, force: true });
});

const name = () => randomBytes(5).toString('hex');
const places: Record<string, () => StorageOptions> = {
  memory: () => ({ backend: 'memory' }),
  file: () => ({ backend: 'file', storageDir: join(root, name()), durability: 'never' }),
  valkey: () => ({ backend: 'valkey', url: valkeyUrl(), keyPrefix: `replies-${name()}:` }),
};

async function open(place: string): Promise<StateStorage> {
  const storage = await openStorage((places[place] as () => StorageOptions)());
  opened.push(storage);
  return storage;
}

/** A webhook that counts what it handles. */
function webhook() {
  const handled: string[] = [];
  const deliver = (storage: StateStorage, messageId: string, contextId = 'c') =>
    withState(
      async function webhook(task, context, id) {
        handled.push(`${contextId} ${messageId}`);
        await context.addToHistory(id, 'user', task.text);
        return { visit: await context.incrementVariable(id, 'n') };
      },
      { storage },
    )({ id: messageId, messageId, contextId, text: 'hi' });
  return { handled, deliver };
}

describe('a message that is delivered again', () => {
  it.each([
    ['memory', 'file'],
    ['file', 'valkey'],
    ['valkey', 'memory'],
  ])('after its conversation was moved from %s to %s gets the reply of then', async (from, to) => {
    const { handled, deliver } = webhook();
    const [source, target] = [await open(from), await open(to)];
    for (const messageId of ['m1', 'm2']) await deliver(source, messageId);
    // One without any, which must not get those of another.
    await source.commit({ space: 'contexts', scope: [], id: 'other' }, [{ op: 'touch' }]);
    const report = await migrate(source, target, { move: true });
    expect(report).toMatchObject({ copied: 2, moved: 2, replies: true });
    expect(await source.read(key('c'))).toBeUndefined();
    expect(await deliver(target, 'm1')).toEqual({ visit: 1 });
    expect(await deliver(target, 'm2')).toEqual({ visit: 2 });
    expect(await deliver(target, 'm3')).toEqual({ visit: 3 });
    await deliver(target, 'm1', 'other');
    expect(handled).toEqual(['c m1', 'c m2', 'c m3', 'other m1']);
  });

  it('after a migration that was interrupted and started again, too', async () => {
    const { handled, deliver } = webhook();
    const [source, target] = [await open('file'), await open('memory')];
    const ids = Array.from({ length: 20 }, (_, i) => `c${i}`);
    for (const id of ids) await deliver(source, 'm', id);
    const stop = new AbortController();
    const onProgress = ({ phase, done }: MigrateProgress) => {
      if (phase === 'copying' && done === 7) stop.abort();
    };
    const options = { move: true, parallel: 2 };
    const first = migrate(source, target, { ...options, signal: stop.signal, onProgress });
    await expect(first).rejects.toMatchObject({ code: 'CANCELLED' });
    const { same } = await migrate(source, target, options);
    expect(same).toBeGreaterThan(0);
    for (const id of ids) expect(await deliver(target, 'm', id)).toEqual({ visit: 1 });
    expect(handled).toHaveLength(20);
  });

  it('to a target that has the conversation by an older agentup, without its replies, gets the reply of then', async () => {
    const { handled, deliver } = webhook();
    const [source, target] = [await open('memory'), await open('file')];
    await deliver(source, 'm1');
    await migrate(without(source), target);
    await migrate(source, target);
    expect(await deliver(target, 'm1')).toEqual({ visit: 1 });
    expect(handled).toEqual(['c m1']);
  });

  it.each(Object.keys(places))('after an export and an import to %s gets the reply of then', async (to) => {
    const { handled, deliver } = webhook();
    const [source, target] = [await open('valkey'), await open(to)];
    for (const messageId of ['m1', 'm2']) await deliver(source, messageId);
    expect(await importRecords(exportRecords(source), target)).toMatchObject({ written: 1, replies: true });
    expect(await deliver(target, 'm2')).toEqual({ visit: 2 });
    expect(await deliver(target, 'm1')).toEqual({ visit: 1 });
    expect(handled).toEqual(['c m1', 'c m2']);
  });

  it('and that the target has answered while a long history was still being copied is known there', async () => {
    const { handled, deliver } = webhook();
    const [source, target] = [new MemoryStorage(), new MemoryStorage()];
    const long: Change[] = Array.from({ length: 2_500 }, (_, i) => ({ op: 'log', entry: String(i) }));
    await source.commit(key('c'), long);
    await deliver(source, 'm1');
    const whole = await readWhole(source, key('c'));
    if (!whole) throw new Error('not there');
    const pages = async function* () {
      let page = 0;
      for await (const entries of whole.pages()) {
        // What came before the third page has been written, what came with it has not.
        if (++page === 3) {
          expect(await deliver(target, 'm1')).toEqual({ visit: 1 });
          await deliver(target, 'm2');
        }
        yield entries;
      }
    };
    await writeWhole(target, { head: whole.head, pages }, 0);
    expect(await deliver(target, 'm2')).toEqual({ visit: 2 });
    expect(handled).toEqual(['c m1', 'c m2']);
  });
});

describe('a storage that does not carry replies', () => {
  it.each([
    ['as the source', (storage: StateStorage) => without(storage), (storage: StateStorage) => storage],
    ['as the target', (storage: StateStorage) => storage, (storage: StateStorage) => without(storage)],
  ])('%s migrates all else, and the report says so', async (_, from, to) => {
    const { handled, deliver } = webhook();
    const [source, target] = [await open('memory'), await open('memory')];
    await deliver(source, 'm1');
    expect(await migrate(from(source), to(target), { dryRun: true })).toMatchObject({ copied: 1, replies: false });
    expect(await migrate(from(source), to(target), { move: true })).toMatchObject({ moved: 1, replies: false });
    expect(await deliver(target, 'm1')).toEqual({ visit: 2 });
    expect(handled).toEqual(['c m1', 'c m1']);
  });

  it('is exported and imported without', async () => {
    const { deliver } = webhook();
    const [source, target] = [await open('memory'), await open('memory')];
    await deliver(source, 'm1');
    expect(await importRecords(exportRecords(source), without(target))).toMatchObject({ written: 1, replies: false });
    expect(await importRecords(exportRecords(without(source)), new MemoryStorage())).toMatchObject({ written: 1 });
  });
});

function key(id: string): RecordKey {
  return { space: 'contexts', scope: [], id };
}

/** As somebody else's storage, written before there was anything to know of replies. */
function without(inner: StateStorage): StateStorage {
  return new (class extends ForwardingStorage {
    override readonly carriesReplies = undefined;
    override read(record: RecordKey, options: ReadOptions = {}) {
      const { replies: _, ...known } = options;
      return inner.read(record, known);
    }
    override commit(record: RecordKey, changes: readonly Change[], options: CommitOptions = {}) {
      const { replies: _, ...carried } = options.carried ?? {};
      return inner.commit(record, changes, options.carried ? { ...options, carried: carried as never } : options);
    }
  })(inner);
}
