import fs, { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'iovalkey';
import { expect, it } from 'vitest';
import { createCacheFactory, createCaches, type TableCache } from '../../src/caches/index.js';
import { FileStorage } from '../../src/storage/index.js';
import { startValkey } from '../support/index.js';

const FEW = 500;
const MANY = 2_000;

async function fill(table: TableCache, rows: number): Promise<void> {
  for (let i = 0; i < rows; i++) await table.set('products', `row ${i}`, { n: i, name: 'pizza' }, { ttl: 3600 });
}

/** Everything asked of the file system while `work` runs: calls, and bytes that were written. */
async function callsOf(work: () => Promise<void>): Promise<{ calls: number; bytes: number }> {
  const counted = { calls: 0, bytes: 0 };
  const names = Object.keys(fs).filter((name) => name.endsWith('Sync')) as (keyof typeof fs)[];
  const originals = new Map(names.map((name) => [name, fs[name]]));
  for (const [name, original] of originals) {
    const call = original as (...args: unknown[]) => unknown;
    Object.assign(fs, {
      [name]: (...args: unknown[]): unknown => {
        const result = call(...args);
        counted.calls++;
        if (name === 'writeSync') counted.bytes += result as number;
        return result;
      },
    });
  }
  syncBuiltinESMExports();
  try {
    await work();
  } finally {
    Object.assign(fs, Object.fromEntries(originals));
    syncBuiltinESMExports();
  }
  return counted;
}

it('files: each of 2,000 rows takes as many calls and bytes as each of 500, and touches no other row’s file', async () => {
  const perRow: { calls: number; bytes: number }[] = [];
  for (const rows of [FEW, MANY]) {
    const storageDir = mkdtempSync(join(tmpdir(), 'agentup-rows-'));
    // What is brought to the disk every second is a matter of how long the rest takes.
    const storage = new FileStorage({ storageDir, durability: 'never' });
    const table = createCaches({ storage, tenantId: 't' }).tableCache;
    const { calls, bytes } = await callsOf(() => fill(table, rows));
    perRow.push({ calls: calls / rows, bytes: bytes / rows });
    const before = states(storageDir);
    expect(before.size).toBeGreaterThanOrEqual(rows);
    await table.set('products', 'row 7', { n: 7, name: 'pasta' });
    await table.set('products', 'new', { n: 7 });
    const touched = [...states(storageDir)].filter(([file, state]) => before.get(file) !== state).map(([file]) => file);
    const others = touched.filter((file) => /row%20(?!7\b)/.test(file));
    expect(touched.some((file) => file.includes('row%207'))).toBe(true);
    expect(others).toEqual([]);
    await storage.close();
    rmSync(storageDir, { recursive: true });
  }
  const [few, many] = perRow as [{ calls: number; bytes: number }, { calls: number; bytes: number }];
  expect(few.calls).toBeGreaterThanOrEqual(1);
  expect(few.bytes).toBeGreaterThan(20);
  expect(many.calls).toBeLessThanOrEqual(few.calls * 1.05);
  expect(many.bytes).toBeLessThanOrEqual(few.bytes * 1.05);
});

it('Valkey: each of 2,000 rows takes as many commands as each of 500', async () => {
  const server = await startValkey();
  const admin = new Redis(server.url);
  const perRow: number[] = [];
  for (const rows of [FEW, MANY]) {
    const factory = await createCacheFactory('valkey', { url: server.url, keyPrefix: `rows-${rows}:` });
    await factory.createTableCache({ tenantId: 't' }).set('products', 'first', { n: 0 });
    await admin.call('CONFIG', 'RESETSTAT');
    await fill(factory.createTableCache({ tenantId: 't' }), rows);
    await factory.close();
    await delay(50);
    const text = String(await admin.info('commandstats'));
    const calls = [...text.matchAll(/cmdstat_(?!info|config)[^:]+:calls=(\d+)/g)].map(([, count]) => Number(count));
    perRow.push(calls.reduce((sum, count) => sum + count, 0) / rows);
  }
  admin.disconnect();
  await server.stop();
  const [few = 0, many = 0] = perRow;
  expect(few).toBeGreaterThanOrEqual(1);
  expect(many).toBeLessThanOrEqual(few * 1.05);
});

function states(directory: string): Map<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    files.map((entry) => {
      const file = join(entry.parentPath, entry.name);
      const { size, mtimeNs, ino } = statSync(file, { bigint: true });
      return [file, `${size} ${mtimeNs} ${ino}`];
    }),
  );
}
