import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import type { MigrateOptions, MigrateReport } from '../../src/operations/index.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';
import { valkeyUrl } from '../support/index.js';
import { runWorker, startWorker } from '../support/workers.js';
import { digestOf } from './records.js';

const COUNT = 250;
const root = mkdtempSync(join(tmpdir(), 'agentup-migrating-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const name = randomBytes(5).toString('hex');
const places: Record<string, (id: string) => StorageOptions> = {
  file: (id) => ({ backend: 'file', storageDir: join(root, id), durability: 'never' }),
  valkey: (id) => ({ backend: 'valkey', url: valkeyUrl(), keyPrefix: `migrating-${name}-${id}:` }),
};

describe.each([
  ['file', 'valkey'],
  ['valkey', 'file'],
])('an agent in one process, a migration in another, from %s to %s', (from, to) => {
  /** Migrates while the agent talks. */
  async function beside(id: string, options: MigrateOptions) {
    const [source, target] = [places[from]?.(`${id}-from`), places[to]?.(`${id}-to`)] as [
      StorageOptions,
      StorageOptions,
    ];
    const talk = startWorker('test/operations/turns.worker.ts', { options: source, count: COUNT });
    expect((await talk.lines.next()).value).toBe('talking');
    const run = async (more: MigrateOptions): Promise<MigrateReport> => {
      const lines = await runWorker('test/operations/migrate.worker.ts', { from: source, to: target, options: more });
      return JSON.parse(lines[1] ?? '') as MigrateReport;
    };
    const report = await run(options);
    for await (const _ of talk.lines);
    expect(await talk.ended).toBe(0);
    const storages = await Promise.all([openStorage(source), openStorage(target)]);
    return { report, run, storages };
  }

  it('loses nothing, and one more run brings what came behind it', async () => {
    const { report, run, storages } = await beside('copy', {});
    expect(report.records).toBeGreaterThan(0);
    await run({ mirror: true });
    const [ours, theirs] = await Promise.all(storages.map(digestOf));
    expect(theirs).toEqual(ours);
    expect(ours?.records).toBeGreaterThanOrEqual(COUNT);
    for (const storage of storages) await storage.close();
  });

  it('takes away, where it moves, only what it has brought: each turn is in one of both', async () => {
    const { report, storages } = await beside('move', { move: true });
    expect(report.moved).toBeGreaterThan(0);
    const [ours, theirs] = storages.map((storage) => new ConversationContext(storage)) as [
      ConversationContext,
      ConversationContext,
    ];
    let moved = 0;
    for (let i = 0; i < COUNT; i++) {
      const [here, there] = await Promise.all(
        [ours, theirs].map((context) => context.getVariable(`talk ${i}`, 'turns', 0)),
      );
      if (here === 0) moved++;
      // A conversation that was moved between its two turns begins anew.
      expect([`${here} ${there}`, i]).toEqual([expect.stringMatching(/^(2 [012]|1 1|0 2)$/), i]);
    }
    expect(moved).toBeGreaterThan(0);
    for (const storage of storages) await storage.close();
  });
});
