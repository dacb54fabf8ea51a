import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { exportRecords, importRecords, type MigrateProgress, migrate } from '../../src/operations/index.js';
import { ServerPulse } from '../../src/server/a2a/server-pulse.js';
import { deleteUnchanged } from '../../src/storage/delete-unchanged.js';
import { ForwardingStorage } from '../../src/storage/forwarding-storage.js';
import type { RecordKey } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';
import type { Change, ListQuery, RecordInfo, StateStorage } from '../../src/storage/state-storage.js';
import { valkeyUrl } from '../support/index.js';
import { TestClock } from '../support/test-clock.js';

const KEY: RecordKey = { space: 'contexts', scope: [], id: 'a' };
const OTHER: RecordKey = { ...KEY, id: 'b' };
const set = (value: number): Change[] => [{ op: 'set', field: 'x', value: String(value) }];
const held = async (storage: StateStorage) => (await storage.read(KEY))?.fields.get('x');

/** A source that was written to after the target, and a way to do something in the middle of what follows. */
async function pair(log = 0) {
  const clock = new TestClock();
  const [source, target] = [new MemoryStorage({ clock }), new MemoryStorage({ clock })];
  for (const storage of [source, target]) await storage.commit(KEY, set(1));
  clock.advance(1_000);
  const entries = Array.from({ length: log }, (_, i): Change => ({ op: 'log', entry: String(i) }));
  await source.commit(KEY, [...set(2), ...entries], log > 0 ? { logMax: log - 1 } : {});
  clock.advance(1_000);
  return { source, target, clock };
}

/** Does something before the call of that name with these arguments, once. */
function interject(
  storage: StateStorage,
  name: 'commit' | 'read' | 'delete',
  work: () => Promise<unknown>,
  matches: (...args: never[]) => boolean = () => true,
): void {
  const original = (storage[name] as (...args: unknown[]) => Promise<unknown>).bind(storage);
  Object.assign(storage, {
    [name]: async (...args: never[]) => {
      if (matches(...args)) {
        Object.assign(storage, { [name]: original });
        await work();
      }
      return original(...args);
    },
  });
}

async function* linesOf(storage: StateStorage): AsyncGenerator<string> {
  const lines: string[] = [];
  for await (const line of exportRecords(storage)) lines.push(line);
  yield* lines;
}

describe('a target that is in use loses nothing', () => {
  it.each([0, 3, 2_500])('what is written to it just before a migration does, %i messages long', async (log) => {
    const { source, target, clock } = await pair(log);
    interject(target, 'commit', () => target.commit(KEY, set(3)));
    expect(await migrate(source, target, { clock })).toMatchObject({ copied: 0 });
    expect([await held(target), (await target.readLog(KEY)).total]).toEqual(['3', 0]);
  });

  it.each([0, 3, 2_500])('what is written to it just before an import does, %i messages long', async (log) => {
    const { source, target, clock } = await pair(log);
    const lines = linesOf(source);
    interject(target, 'commit', () => target.commit(KEY, set(3)));
    expect(await importRecords(lines, target, { clock })).toMatchObject({
      records: 1,
      written: 0,
      kept: 1,
      expired: 0,
    });
    expect([await held(target), (await target.readLog(KEY)).total]).toEqual(['3', 0]);
    // Also where nothing was there to begin with.
    const empty = new MemoryStorage({ clock });
    interject(empty, 'commit', () => empty.commit(KEY, set(3)));
    expect(await importRecords(linesOf(source), empty, { clock })).toMatchObject({ written: 0, kept: 1 });
    expect(await held(empty)).toBe('3');
  });

  it('what is written to what a damaged import had begun stays when that is taken away', async () => {
    const { source, clock } = await pair(2_500);
    const target = new MemoryStorage({ clock });
    const lines: string[] = [];
    for await (const line of linesOf(source)) lines.push(line);
    const [last = ''] = lines.splice(
      lines.findLastIndex((line) => line.startsWith('{"log"')),
      1,
    );
    lines.splice(-2, 0, last.replace('[', '[0,'));
    let reads = 0;
    const late = new (class extends ForwardingStorage {
      override async read(...given: Parameters<StateStorage['read']>) {
        const record = await this.inner.read(...given);
        // The look that the removal goes by.
        if (record && reads++ === 0) await target.commit(KEY, set(3));
        return record;
      }
    })(target);
    const damaged = (async function* () {
      yield* lines;
    })();
    await expect(importRecords(damaged, late, { clock })).rejects.toMatchObject({ code: 'EXPORT_INVALID' });
    expect(await held(target)).toBe('3');
  });

  it('what is written to a record that the source has deleted meanwhile stays', async () => {
    const { source, target, clock } = await pair();
    const work = async () => {
      await source.delete(KEY);
      clock.advance(5);
      await target.commit(KEY, set(3));
    };
    // The first look after it was brought.
    interject(source, 'read', work, (_key: RecordKey, options: { fields?: string[] }) => options?.fields?.length === 0);
    expect(await migrate(source, target, { clock })).toMatchObject({ copied: 1, dropped: 0 });
    expect(await held(target)).toBe('3');
  });

  it('what differs by its contents only is mended where it was looked at, not where it has changed since', async () => {
    const { source, target, clock } = await pair();
    await migrate(source, target, { clock });
    const { createdAt, updatedAt, expiresAt, ownTtl } = (await source.read(KEY)) ?? { createdAt: 0, updatedAt: 0 };
    await target.commit(KEY, set(7), { carried: { createdAt, updatedAt, expiresAt, ownTtl } });
    interject(target, 'commit', () => target.commit(KEY, set(3)));
    await migrate(source, target, { clock });
    expect(await held(target)).toBe('3');
  });
});

it('a source that is moved keeps what is written to it, under a lease or not, before it is removed', async () => {
  const { source, target, clock } = await pair();
  const removes = (_key: RecordKey, _changes: Change[], options?: { condition?: object }) => !!options?.condition;
  interject(source, 'commit', () => source.commit(KEY, set(3)), removes);
  expect(await migrate(source, target, { clock, move: true })).toMatchObject({ moved: 0 });
  expect([await held(source), await held(target)]).toEqual(['3', '2']);
  expect(await migrate(source, target, { clock, move: true })).toMatchObject({ moved: 1 });
  expect([await held(source), await held(target)]).toEqual([undefined, '3']);
});

it('a move that is run again leaves alone what it has moved, where the conversation has begun anew', async () => {
  const { source, target, clock } = await pair();
  expect(await migrate(source, target, { clock, move: true })).toMatchObject({ moved: 1 });
  clock.advance(1_000);
  await source.commit(KEY, set(3));
  expect(await migrate(source, target, { clock, move: true })).toMatchObject({ copied: 0, kept: 1, moved: 0 });
  expect([await held(source), await held(target)]).toEqual(['3', '2']);
  // What is only half there is nobody's only copy.
  const carried = { createdAt: 1, updatedAt: 0, expiresAt: undefined, ownTtl: undefined };
  await target.commit(KEY, [], { carried });
  expect(await migrate(source, target, { clock, move: true })).toMatchObject({ moved: 1 });
  expect([await held(source), await held(target)]).toEqual([undefined, '3']);
});

it('a move follows a conversation that begins anew before it is removed', async () => {
  const { source, target, clock } = await pair();
  let begun = false;
  const onProgress = ({ phase }: MigrateProgress): void => {
    if (phase !== 'catching up' || begun) return;
    begun = true;
    clock.advance(1_000);
    void source.delete(KEY).then(() => source.commit(KEY, set(3)));
  };
  expect(await migrate(source, target, { clock, move: true, onProgress })).toMatchObject({ moved: 1 });
  expect([await held(source), await held(target)]).toEqual([undefined, '3']);
});

it('a mirror leaves what came to both sides after the last look at the source, and is newer in the target', async () => {
  const { source, target, clock } = await pair();
  const late = new (class extends ForwardingStorage {
    override async *list(query: ListQuery): AsyncIterable<RecordInfo> {
      if (!(await source.read(OTHER))) {
        await source.commit(OTHER, set(1));
        clock.advance(5);
        await target.commit(OTHER, set(3));
      }
      yield* this.inner.list(query);
    }
  })(target);
  expect(await migrate(source, late, { clock, mirror: true })).toMatchObject({ dropped: 0 });
  expect((await target.read(OTHER))?.fields.get('x')).toBe('3');
});

it('a move leaves at the source what was written to it after it was compared', async () => {
  const { source, target, clock } = await pair();
  let late: Promise<unknown> | undefined;
  const onProgress = ({ phase }: MigrateProgress): void => {
    if (phase === 'removing') late ??= source.commit(KEY, set(3));
  };
  expect(await migrate(source, target, { clock, move: true, onProgress })).toMatchObject({ moved: 0 });
  await late;
  expect([await held(source), await held(target)]).toEqual(['3', '2']);
});

it('a move that is told to stop removes no more', async () => {
  const { source, target, clock } = await pair();
  await source.commit(OTHER, set(1));
  const stop = new AbortController();
  const onProgress = ({ phase, done }: MigrateProgress): void => {
    if (phase === 'removing' && done === 1) stop.abort();
  };
  const options = { clock, move: true, parallel: 1, onProgress, signal: stop.signal };
  await expect(migrate(source, target, options)).rejects.toMatchObject({ code: 'CANCELLED' });
  const left = [await source.read(KEY), await source.read(OTHER)].filter((record) => record !== undefined);
  expect(left).toHaveLength(1);
});

it('a source that somebody writes to all the time comes to an end, also where each pass meets another write', async () => {
  const { source, target, clock } = await pair();
  const beat = (): Promise<unknown> => source.commit(OTHER, set(1), { expiry: { set: 60 } });
  await beat();
  const restless = new (class extends ForwardingStorage {
    override async *list(query: ListQuery): AsyncIterable<RecordInfo> {
      clock.advance(15_000);
      await beat();
      yield* this.inner.list(query);
    }
  })(source);
  expect((await migrate(restless, target, { clock })).passes).toBeGreaterThan(2);
  expect(await target.read(OTHER)).toEqual({ ...(await source.read(OTHER)), version: expect.any(Number) });
});

it('a server whose storage is moved away from under it is not taken for gone, and moves nowhere', async () => {
  const { source, target, clock } = await pair();
  const [worker, reader] = [new ServerPulse(source), new ServerPulse(source)];
  await worker.begin();
  expect(await migrate(source, target, { clock, move: true })).toMatchObject({ moved: 1 });
  expect(await reader.isGone(worker.id)).toBe(false);
  expect(await new ServerPulse(target).isGone(worker.id)).toBe(true);
  await worker.end();
  // All who look at the same moment see the same.
  expect(await Promise.all([1, 2, 3].map(() => reader.isGone(worker.id)))).toEqual([true, true, true]);
});

describe('a record is removed only as it was seen', () => {
  const root = mkdtempSync(join(tmpdir(), 'agentup-in-use-'));
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  it.each<StorageOptions>([
    { backend: 'memory' },
    { backend: 'file', storageDir: root, durability: 'never' },
    { backend: 'valkey', url: valkeyUrl(), keyPrefix: `in-use-${randomBytes(5).toString('hex')}:` },
  ])('on $backend', async (options) => {
    const storage = await openStorage(options);
    await storage.commit(KEY, [...set(1), { op: 'log', entry: '1' }, { op: 'owner', owner: 'ann' }]);
    expect(await deleteUnchanged(storage, KEY, 2)).toBe(false);
    expect(await held(storage)).toBe('1');
    expect(await deleteUnchanged(storage, KEY, 1)).toBe(true);
    for (const query of [{}, { owner: 'ann' }]) {
      for await (const _ of storage.list({ space: KEY.space, ...query })) expect.unreachable();
    }
    expect([await storage.read(KEY), (await storage.readLog(KEY)).total]).toEqual([undefined, 0]);
    await storage.commit(KEY, set(2));
    expect((await storage.read(KEY, { log: 5 }))?.log).toEqual([]);
    await storage.close();
  });
});
