import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay, setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, describe, expect, it } from 'vitest';
import { createCaches } from '../../src/caches/index.js';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { type MigrateProgress, type MigrateReport, migrate } from '../../src/operations/index.js';
import { withState } from '../../src/skill/with-state.js';
import { ForwardingStorage } from '../../src/storage/forwarding-storage.js';
import type { RecordKey } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';
import type { Change, CommitOptions, ReadOptions, StateStorage } from '../../src/storage/state-storage.js';
import { valkeyUrl } from '../support/index.js';
import { startWorker } from '../support/workers.js';
import { caches, conversations, digestOf } from './records.js';

const COUNT = Number(process.env['AGENTUP_MIGRATION_CONVERSATIONS'] ?? 150);
const root = mkdtempSync(join(tmpdir(), 'agentup-migrate-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const files = (name: string): StorageOptions => ({
  backend: 'file',
  storageDir: join(root, name),
  durability: 'never',
});
const valkey = (): StorageOptions => {
  return { backend: 'valkey', url: valkeyUrl(), keyPrefix: `migrate-${randomBytes(5).toString('hex')}:` };
};
const places: Record<string, () => StorageOptions> = {
  memory: () => ({ backend: 'memory' }),
  file: () => files(randomBytes(5).toString('hex')),
  valkey,
};
const PAIRS = Object.keys(places).flatMap((from) => Object.keys(places).map((to) => [from, to] as const));

describe('a migration', () => {
  it.each(PAIRS)('from %s to %s brings all there is, as it is', async (from, to) => {
    const start = await conversations(60, Date.now() - 60_000);
    await caches(start);
    const [source, target] = await Promise.all(
      [from, to].map(async (name) => openStorage((places[name] as () => StorageOptions)())),
    );
    if (!source || !target) throw new Error('not open');
    await migrate(start, source);
    const seen: MigrateProgress[] = [];
    const report = await migrate(source, target, { onProgress: (progress) => seen.push(progress) });
    const all = await digestOf(start);
    expect(await digestOf(source)).toEqual(all);
    expect(await digestOf(target)).toEqual(all);
    expect(report).toMatchObject({ ...all, copied: all.records, same: 0, kept: 0, dropped: 0, moved: 0, passes: 2 });
    expect(new Set(seen.map(({ phase }) => phase))).toEqual(new Set(['copying', 'catching up', 'verifying']));
    expect(seen.at(-1)).toEqual({ phase: 'verifying', done: all.records, total: all.records, copied: all.records });
    // Its life is what it was, and goes on by the clock.
    const context = new ConversationContext(target, { ttl: 7200 });
    expect(await context.getTtl('ada')).toBe(null);
    expect(await context.getTtl('ada')).toBe(await new ConversationContext(start, { ttl: 7200 }).getTtl('ada'));
    const { stateCache, tableCache } = createCaches({ storage: target, tenantId: 'shop', userId: 'ann' });
    expect(await stateCache.getTtl('pizza_order')).toBeGreaterThan(1_700);
    const products = tableCache.table('products', undefined, { indexes: ['category'], versioned: true });
    expect(await products.findByField('category', 'food')).toHaveLength(10);
    // Once more: nothing to do.
    expect(await migrate(source, target)).toMatchObject({
      copied: 0,
      same: all.records,
      passes: 1,
      digest: all.digest,
    });
    await Promise.all([source.close(), target.close()]);
  });

  it('writes nothing in a dry run, and says what it would', async () => {
    const source = await conversations(20, Date.now());
    const target = await openStorage({ backend: 'memory' });
    expect(await migrate(source, target, { dryRun: true })).toMatchObject({ records: 20, copied: 20, digest: '' });
    expect(await target.spaces()).toEqual([]);
  });

  it('leaves alone what is newer in the target, and mends what is not whole or not equal there', async () => {
    const source = await conversations(20, Date.now() - 60_000);
    const target = await openStorage(files('newer'));
    await migrate(source, target);
    const [ours, theirs] = [source, target].map((storage) => new ConversationContext(storage));
    await theirs?.setVariable('conversation 12', 'mine', true);
    // Equal by its times, and other by what it holds.
    const key = ours?.keyOf('conversation 16') ?? { space: '', scope: [], id: '' };
    const before = await source.read(key);
    const carried = {
      createdAt: before?.createdAt ?? 0,
      updatedAt: before?.updatedAt ?? 0,
      expiresAt: before?.expiresAt,
      ownTtl: before?.ownTtl,
    };
    await target.commit(key, [{ op: 'set', field: 'var:profile', value: '"damaged"' }], { carried });
    const report = await migrate(source, target);
    expect(report).toMatchObject({ kept: 1, same: 19, copied: 1 });
    expect(await theirs?.getVariable('conversation 12', 'mine')).toBe(true);
    expect((await target.read(key))?.fields).toEqual((await source.read(key))?.fields);
    await target.close();
  });

  it('moves: what is proven to be there is removed, what a turn holds stays', async () => {
    const source = await conversations(30, Date.now() - 60_000);
    const all = await digestOf(source);
    const target = await openStorage(files('moved'));
    const held = { space: 'contexts', scope: [], id: 'ada' };
    await source.begin(held, { token: 'a turn', leaseMs: 60_000 });
    expect(await migrate(source, target, { move: true })).toMatchObject({ moved: 29 });
    expect(await digestOf(target)).toEqual(all);
    expect((await digestOf(source)).records).toBe(1);
    expect(await source.read(held)).toBeDefined();
    await target.close();
  });

  it('moves: of what was in files nothing is left on the disk', async () => {
    const place = files('emptied');
    const source = await openStorage(place);
    await migrate(await conversations(30, Date.now() - 60_000), source);
    const recordFiles = () =>
      readdirSync(join(root, 'emptied'), { recursive: true }).filter((name) => String(name).endsWith('.jsonl'));
    expect(recordFiles().length).toBeGreaterThan(30);
    const target = await openStorage({ backend: 'memory' });
    const held = { space: 'contexts', scope: [], id: 'ada' };
    await source.begin(held, { token: 'a turn', leaseMs: 60_000 });
    expect(await migrate(source, target, { move: true })).toMatchObject({ moved: 29 });
    // The one that is held, and the entry of its owner.
    expect(recordFiles().map((name) => basename(String(name)))).toEqual(['ada.jsonl', 'ada.jsonl']);
    // Who comes back begins anew, under the old name.
    await source.commit({ ...held, id: 'conversation 12' }, [{ op: 'touch' }]);
    expect((await source.read({ ...held, id: 'conversation 12' }))?.version).toBe(1);
    await source.close();
  });

  it.each(['file', 'valkey'])(
    'moves nothing into the place where it is already, under whatever name: %s',
    async (name) => {
      const here = (places[name] as () => StorageOptions)();
      const source = await openStorage(here);
      await migrate(await conversations(30, Date.now() - 60_000), source);
      const all = await digestOf(source);
      if (here.backend === 'file') symlinkSync(here.storageDir, `${here.storageDir}-link`);
      const target = await openStorage(
        here.backend === 'file'
          ? { ...here, storageDir: `${here.storageDir}-link` }
          : ({ ...here, url: valkeyUrl().replace('127.0.0.1', 'localhost') } as StorageOptions),
      );
      await expect(migrate(source, target, { move: true })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
      expect(await digestOf(source)).toEqual(all);
      await Promise.all([source.close(), target.close()]);
    },
  );

  it('never mirrors a source that is moved: what went before is in the target alone', async () => {
    const source = await conversations(20, Date.now() - 60_000);
    const target = await openStorage({ backend: 'memory' });
    const all = await digestOf(source);
    await migrate(source, target, { move: true });
    for (const dryRun of [true, false]) {
      const again = migrate(source, target, { move: true, mirror: true, dryRun });
      await expect(again).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', details: { argument: 'mirror' } });
    }
    expect(await digestOf(target)).toEqual(all);
  });

  it('leaves in the target what is only there, unless it is to mirror the source', async () => {
    const source = await conversations(20, Date.now() - 60_000);
    const target = await openStorage(files('mirror'));
    await migrate(source, target);
    const gone = new ConversationContext(source);
    await gone.clearContext('conversation 12');
    await target.commit({ space: 'only-here', scope: ['t'], id: 'x' }, [{ op: 'touch' }]);
    expect(await migrate(source, target)).toMatchObject({ same: 19, dropped: 0 });
    expect((await digestOf(target)).records).toBe(21);
    expect(await migrate(source, target, { mirror: true, dryRun: true })).toMatchObject({ dropped: 2 });
    expect((await digestOf(target)).records).toBe(21);
    expect(await migrate(source, target, { mirror: true })).toMatchObject({ dropped: 2 });
    expect(await digestOf(target)).toEqual(await digestOf(source));
    await target.close();
  });

  it('mirrors no source that holds nothing: it may be the wrong one', async () => {
    const target = await conversations(20, Date.now());
    const source = await openStorage({ backend: 'memory' });
    await expect(migrate(source, target, { mirror: true })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect((await digestOf(target)).records).toBe(20);
  });

  it('ends between two records when it is told to', async () => {
    const source = await conversations(100, Date.now());
    const target = await openStorage({ backend: 'memory' });
    const stop = new AbortController();
    const onProgress = ({ done }: MigrateProgress): void => {
      if (done === 30) stop.abort();
    };
    await expect(migrate(source, target, { onProgress, signal: stop.signal })).rejects.toMatchObject({
      code: 'CANCELLED',
    });
    const { records } = await digestOf(target);
    expect(records).toBeGreaterThanOrEqual(30);
    expect(records).toBeLessThan(60);
    expect(await migrate(source, target)).toMatchObject({ same: records, copied: 100 - records });
  });
});

describe('a live migration', () => {
  it('brings what is written behind it, and takes back what is deleted', async () => {
    const source = await conversations(40, Date.now() - 60_000);
    const context = new ConversationContext(source);
    const target = await openStorage(files('behind'));
    const late: Promise<unknown>[] = [];
    const onProgress = ({ phase, done, total }: MigrateProgress): void => {
      if (phase !== 'copying' || done !== total) return;
      late.push(context.setVariable('ada', 'late', 1), context.addToHistory('new', 'user', 'hi'));
      late.push(context.clearContext('conversation 12'));
    };
    const report = await migrate(source, target, { onProgress });
    await Promise.all(late);
    expect(late).toHaveLength(3);
    expect(report).toMatchObject({ records: 40, copied: 42, dropped: 1, passes: 3 });
    expect(await digestOf(target)).toEqual(await digestOf(source));
    expect((await digestOf(target)).records).toBe(40);
    await target.close();
  });

  it.each(['file', 'valkey'])('to %s: turns go on at the source; in the end both hold the same', async (to) => {
    const source = await openStorage(files(`live-${to}`));
    await migrate(await conversations(120, Date.now() - 60_000), source);
    const target = await openStorage((places[to] as () => StorageOptions)());
    const context = new ConversationContext(source);
    const turn = withState(async function turn(task, inside, id) {
      await inside.addToHistory(id, 'user', task.text);
      return inside.incrementVariable(id, 'turns');
    });
    let turns = 0;
    let running = true;
    const work = (async () => {
      while (running && turns < 300) {
        const contextId = turns % 3 === 0 ? `new ${turns}` : `conversation ${12 + 4 * (turns % 20)}`;
        await turn({ id: `t${turns}`, contextId, text: `turn ${turns}` }, context);
        if (turns % 10 === 9) await context.clearContext(`new ${turns - 9}`);
        turns++;
        // Several at a time: storages in the same process give way to others only now and then.
        if (turns % 5 === 0) await setImmediate();
      }
    })();
    const first = await migrate(source, target, { parallel: 1 });
    running = false;
    await work;
    // What was written behind the last look is brought by one more run.
    const second = await migrate(source, target, { mirror: true });
    expect(turns).toBeGreaterThan(10);
    // More than were there in the beginning: some twice, and some that came meanwhile.
    expect(first.copied).toBeGreaterThan(120);
    expect(second.copied).toBeLessThan(first.copied);
    const [ours, theirs] = await Promise.all([digestOf(source), digestOf(target)]);
    expect(theirs.digest).toBe(ours.digest);
    const total = await sum(target);
    expect(total).toBe(await sum(source));
    await Promise.all([source.close(), target.close()]);
  });

  async function sum(storage: StateStorage): Promise<number> {
    const context = new ConversationContext(storage);
    let turns = 0;
    for await (const { contextId } of context.listContexts()) {
      turns += await context.getVariable<number>(contextId, 'turns', 0);
    }
    return turns;
  }
});

describe(`${COUNT} conversations, memory → file → Valkey → file`, () => {
  it('killed at random and started again: the digests are equal', { timeout: 600_000 }, async () => {
    const startedAt = Date.now() - 60_000;
    const start = { conversations: COUNT, startedAt };
    const steps = [files('first'), valkey(), files('last')];
    const all = await digestOf(await conversations(COUNT, startedAt));
    expect(all.records).toBe(COUNT);
    let from: StorageOptions | typeof start = start;
    for (const to of steps) {
      // The time of a whole run is not known before; kills spread over several orders of magnitude.
      for (const ms of [20, 90, 250, 600]) await killedAfter({ from, to }, ms * (0.5 + Math.random()));
      const report = await toItsEnd({ from, to });
      expect({ records: report.records, digest: report.digest }).toEqual(all);
      const target = await openStorage(to);
      expect(await digestOf(target)).toEqual(all);
      await target.close();
      from = to;
    }
  });

  async function killedAfter(args: object, ms: number): Promise<void> {
    const worker = startWorker('test/operations/migrate.worker.ts', args);
    expect((await worker.lines.next()).value).toBe('ready');
    await delay(ms);
    worker.process.kill('SIGKILL');
    for await (const _ of worker.lines);
    await worker.ended;
  }

  async function toItsEnd(args: object): Promise<MigrateReport> {
    const worker = startWorker('test/operations/migrate.worker.ts', args);
    const lines: string[] = [];
    for await (const line of worker.lines) lines.push(line);
    expect(await worker.ended).toBe(0);
    return JSON.parse(lines[1] ?? '') as MigrateReport;
  }
});

/** Records of 100 kB each, which are not in memory: a field that each read makes anew. */
class WideStorage extends ForwardingStorage {
  override async read(key: RecordKey, options?: ReadOptions) {
    const record = await super.read(key, options);
    if (!record || options?.fields) return record;
    const wide = `"${Buffer.alloc(100_000, 97).toString('latin1')}"`;
    return { ...record, fields: new Map([...record.fields, ['var:wide', wide as never]]) };
  }

  override async commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions) {
    const kept = changes.filter((change) => !('field' in change && change.field === 'var:wide'));
    return super.commit(key, kept, options);
  }
}

it('a move holds of what it has compared no more than its keys', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const used = (): number => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const [source, target] = [new WideStorage(new MemoryStorage()), new WideStorage(new MemoryStorage())];
  const context = new ConversationContext(source);
  for (let i = 0; i < 300; i++) await context.setVariable(`c${i}`, 'n', i);
  const before = used();
  let held: number | undefined;
  const onProgress = ({ phase, done }: MigrateProgress): void => {
    if (phase === 'removing' && done === 0) held ??= used() - before;
  };
  expect(await migrate(source, target, { move: true, onProgress })).toMatchObject({ moved: 300 });
  // It was 30 MB.
  expect(held).toBeLessThan(10_000_000);
});
