import fs, { mkdtempSync, rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'iovalkey';
import { afterAll, describe, expect, it } from 'vitest';
import { type Clock, systemClock } from '../../src/clock.js';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { FileStorage } from '../../src/storage/file/file-storage.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { StateStorage } from '../../src/storage/state-storage.js';
import { ValkeyStorage } from '../../src/storage/valkey/valkey-storage.js';
import { startValkey } from '../support/index.js';
import { TestClock } from '../support/test-clock.js';

/**
 * How many conversations there are, one in a hundred of them stale. What is counted is steps, calls and commands, not
 * time; files are fewer, because making them takes long. `AGENTUP_MANY=100000` makes as many of them too.
 */
const MANY = Number(process.env['AGENTUP_MANY'] ?? 100_000);
const MANY_FILES = Number(process.env['AGENTUP_MANY'] ?? 2_000);
/** Conversations of one user. */
const OWN = 20;
const HOUR = 3_600_000;

const context = (storage: StateStorage, clock: Clock = systemClock) => new ConversationContext(storage, { clock });
const idOf = (n: number) => `c${n}`;
const ownerOf = (n: number) => `u${Math.floor(n / OWN)}`;

/** Conversations that were written to on one day, of which each has a user. */
async function make(storage: StateStorage, from: number, to: number): Promise<void> {
  for (let n = from; n < to; n++) {
    const key = { space: 'contexts', scope: [], id: idOf(n) };
    await storage.commit(key, [
      { op: 'set', field: 'var:n', value: String(n) },
      { op: 'owner', owner: ownerOf(n) },
    ]);
  }
}

async function listed(conversations: ConversationContext, userId: string): Promise<string[]> {
  const ids: string[] = [];
  for await (const { contextId } of conversations.listContexts({ userId })) ids.push(contextId);
  return ids;
}

/** Of all conversations the five that come after one in the middle. */
async function page(conversations: ConversationContext): Promise<string[]> {
  const ids: string[] = [];
  for await (const { contextId } of conversations.listContexts({ after: 'c50', limit: 5 })) ids.push(contextId);
  return ids;
}
const idsOfPage = (many: number) =>
  Array.from({ length: many }, (_, n) => idOf(n))
    .sort()
    .filter((id) => id > 'c50')
    .slice(0, 5);

/** The last user's, who has written today: in the middle of all that there is to be looked through. */
const lastUser = (many: number) => ownerOf(many - 1);
const idsOfLast = (many: number) => Array.from({ length: OWN }, (_, n) => idOf(many - OWN + n)).sort();

describe('cleanup and listing cost what they find, on', () => {
  it(`memory: ${MANY} conversations`, async () => {
    const clock = new TestClock();
    const storage = new MemoryStorage({ clock });
    await make(storage, 0, MANY / 100);
    clock.advance(48 * HOUR);
    await make(storage, MANY / 100, MANY);

    // Whoever looks through a collection asks its iterator for each.
    let steps = 0;
    const counted = [new Map().values(), new Set().values()].map((iterator) => {
      const prototype = Object.getPrototypeOf(iterator) as { next: () => unknown };
      const { next } = prototype;
      prototype.next = function (this: unknown) {
        steps++;
        return next.call(this);
      };
      return () => Object.assign(prototype, { next });
    });
    try {
      expect(await listed(context(storage, clock), lastUser(MANY))).toEqual(idsOfLast(MANY));
      expect(steps).toBeLessThan(10 * OWN);
      expect(steps).toBeGreaterThanOrEqual(OWN);
      steps = 0;
      expect(await context(storage, clock).cleanupOldContexts({ maxAgeHours: 24 })).toBe(MANY / 100);
      expect(steps).toBeLessThan(2 * (MANY / 100) + 100);
      steps = 0;
      expect(await context(storage, clock).cleanupOldContexts({ maxAgeHours: 24 })).toBe(0);
      expect(steps).toBeLessThan(10);
    } finally {
      for (const restore of counted) restore();
    }
  });

  it(`files: ${MANY_FILES} conversations`, { timeout: 60_000 + MANY_FILES * 5 }, async () => {
    const storageDir = mkdtempSync(join(tmpdir(), 'agentup-many-'));
    const clock = new TestClock();
    const open = () => new FileStorage({ storageDir, clock, durability: 'never' });
    const maker = open();
    const stale = MANY_FILES / 100;
    await make(maker, 0, stale);
    clock.advance(48 * HOUR);
    await make(maker, stale, MANY_FILES);
    await maker.close();

    const calls: Record<string, number> = {};
    const names = Object.keys(fs).filter((name) => name.endsWith('Sync')) as (keyof typeof fs)[];
    const real = Object.fromEntries(names.map((name) => [name, fs[name]]));
    for (const name of names) {
      Object.assign(fs, {
        [name]: (...args: unknown[]) => {
          calls[name] = (calls[name] ?? 0) + 1;
          return (real[name] as (...args: unknown[]) => unknown)(...args);
        },
      });
    }
    syncBuiltinESMExports();
    const spent = () => {
      const { statSync: stats = 0, openSync: opened = 0 } = calls;
      const all = Object.values(calls).reduce((sum, count) => sum + count, 0);
      for (const name of Object.keys(calls)) delete calls[name];
      return { stats, opened, all };
    };
    const storage = open();
    try {
      expect(await listed(context(storage, clock), lastUser(MANY_FILES))).toEqual(idsOfLast(MANY_FILES));
      expect(spent().all).toBeLessThan(20 * OWN);
      // What has not changed since is not opened again.
      expect(await listed(context(storage, clock), lastUser(MANY_FILES))).toEqual(idsOfLast(MANY_FILES));
      expect(spent()).toMatchObject({ opened: 0 });
      expect(await page(context(storage, clock))).toEqual(idsOfPage(MANY_FILES));
      expect(spent().opened).toBeLessThan(10);
      const day = { maxAgeHours: 24 };
      expect(await context(storage, clock).cleanupOldContexts(day)).toBe(stale);
      const first = spent();
      // One look at each name, and only what is stale is opened: for reading, and for nothing else.
      expect(first.stats).toBeLessThan(MANY_FILES + 20 * stale + 100);
      expect(first.opened).toBeLessThan(4 * stale + 20);
      expect(await context(storage, clock).cleanupOldContexts(day)).toBe(0);
      expect(spent()).toMatchObject({ opened: 0 });
    } finally {
      Object.assign(fs, real);
      syncBuiltinESMExports();
      await storage.close();
      rmSync(storageDir, { recursive: true });
    }
  });

  describe('Valkey', () => {
    const ended: (() => Promise<unknown>)[] = [];
    afterAll(async () => {
      for (const end of ended.reverse()) await end();
    });

    it(`${MANY} conversations, without KEYS or SCAN`, async () => {
      const server = await startValkey();
      ended.push(() => server.stop());
      const admin = new Redis(server.url);
      ended.push(async () => admin.disconnect());
      const storage = new ValkeyStorage({ url: server.url, keyPrefix: 'many:' });
      ended.push(() => storage.close());
      const now = Date.now();
      const stale = MANY / 100;
      // As docs/valkey.md draws it. Times are those of the server, so that only it can make what is two days old.
      for (let from = 0; from < MANY; from += 10_000) {
        const to = Math.min(MANY, from + 10_000);
        await admin.eval(
          FILL,
          0,
          String(from),
          String(to - 1),
          String(OWN),
          String(now),
          String(now - 48 * HOUR),
          String(stale),
        );
      }
      // It is what the storage itself makes of one.
      await make(storage, 0, 1);
      await expect.poll(() => admin.zcard('many:{contexts}:due')).toBe(MANY);
      const commands = async (): Promise<Map<string, number>> => {
        const stats = await admin.info('commandstats');
        await admin.config('RESETSTAT');
        const calls = [...stats.matchAll(/cmdstat_([^:|]+)[^:]*:calls=(\d+)/g)];
        return new Map(calls.map(([, name = '', count]): [string, number] => [name, Number(count)]));
      };
      const total = (of: Map<string, number>) => [...of.values()].reduce((sum, count) => sum + count, 0);
      await commands();

      expect(await listed(context(storage), lastUser(MANY))).toEqual(idsOfLast(MANY));
      const listing = await commands();
      expect(total(listing)).toBeLessThan(5 * OWN);
      expect(await page(context(storage))).toEqual(idsOfPage(MANY));
      expect(total(await commands())).toBeLessThan(30);
      expect(await context(storage).cleanupOldContexts({ maxAgeHours: 24 })).toBe(stale - 1);
      const sweeping = await commands();
      expect(sweeping.get('unlink')).toBe(stale - 1);
      expect(total(sweeping)).toBeLessThan(15 * stale);
      for (const name of ['names', 'times', 'due', 'owners']) {
        expect(await admin.zcard(`many:{contexts}:${name}`)).toBe(MANY - stale + 1);
      }
      // Five keys of the index of a space, and the list of spaces.
      expect(await admin.dbsize()).toBe(MANY - stale + 1 + 6);
      for (const met of [listing, sweeping]) {
        for (const name of met.keys()) expect(name).not.toMatch(/^(keys|h?scan|[sz]scan|hgetall|flushdb)$/);
      }
    });
  });
});

/** Makes records ARGV[1] to ARGV[2] with their entries in the index: those before ARGV[6] at ARGV[5], others at ARGV[4]. */
const FILL = `
local index = 'many:{contexts}'
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local member, owner = '/:c' .. n, 'u' .. math.floor(n / ARGV[3])
  local at = n < tonumber(ARGV[6]) and ARGV[5] or ARGV[4]
  redis.call('HSET', 'many:{contexts' .. member .. '}', '', '1 ' .. at .. ' 0 0 0 - ' .. at .. ' ' .. owner, 'var:n', n)
  redis.call('ZADD', index .. ':names', 0, member)
  redis.call('ZADD', index .. ':times', at, member)
  redis.call('ZADD', index .. ':due', ARGV[4] + 2592000000, member)
  redis.call('ZADD', index .. ':owners', 0, owner .. ' ' .. member)
  redis.call('HSET', index .. ':owners-of', member, owner)
end`;
