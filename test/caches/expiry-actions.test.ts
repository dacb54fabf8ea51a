import { join } from 'node:path';
import { beforeEach, expect, it, vi } from 'vitest';
import type { ExpiredEntry } from '../../src/caches/index.js';
import { runWorker, startWorker } from '../support/workers.js';
import { onEachBackend } from './backends.js';

const WORKER = join(import.meta.dirname, 'expiry-actions.worker.ts');
const settle = () => new Promise((resolve) => setTimeout(resolve, 60));

onEachBackend(
  'an expiry action',
  ({ caches, pass, options, storage, now }) => {
    it('runs when its time is up, once, with what it was given', async () => {
      const tenantId = `tenant ${Math.random()}`;
      const workers = [caches({ tenantId }).expiry, caches({ tenantId }).expiry];
      const { expiry } = caches({ tenantId });
      const odd = 'user:+51 999/..*{é}\n';
      await expiry.set('remind', odd, { ttl: 1, data: { cart: ['1'] } });
      await expiry.set('other', odd, { ttl: 1 });
      expect(await expiry.getTtl('remind', odd)).toBe(1);
      const seen: ExpiredEntry[] = [];
      const runAll = () =>
        Promise.all(workers.map((worker) => worker.runDue('remind', (entry) => void seen.push(entry))));
      expect(await runAll()).toEqual([0, 0]);
      await pass(1_100);
      const ran = await runAll();
      expect(ran.reduce((sum, count) => sum + count)).toBe(1);
      expect(seen).toEqual([{ action: 'remind', identifier: odd, data: { cart: ['1'] } }]);
      expect(await runAll()).toEqual([0, 0]);
      expect(await expiry.getTtl('remind', odd)).toBeUndefined();
      expect(await expiry.getTtl('other', odd)).toBe(0);
    });

    it('set again moves, deleted stops', async () => {
      const { expiry } = caches();
      const seen: string[] = [];
      const run = () => expiry.runDue('a', ({ identifier }) => void seen.push(identifier));
      await expiry.set('a', 'moved', { ttl: 1 });
      await expiry.set('a', 'moved', { ttl: 3 });
      await expiry.set('a', 'stopped', { ttl: 1 });
      expect([await expiry.delete('a', 'stopped'), await expiry.delete('a', 'stopped')]).toEqual([true, false]);
      await pass(1_100);
      await run();
      expect(seen).toEqual([]);
      await pass(2_000);
      await run();
      await run();
      expect(seen).toEqual(['moved']);
    });

    it('runs also where a worker met its hint before the action itself was written', async () => {
      const tenantId = `tenant ${Math.random()}`;
      const { expiry } = caches({ tenantId });
      const due = now() - 10;
      const scope = [tenantId, 'a'];
      await storage().commit({ space: 'cache-due', scope, id: `${String(due).padStart(15, '0')}:x` }, [
        { op: 'touch' },
      ]);
      const seen: string[] = [];
      const run = () => expiry.runDue('a', ({ identifier }) => void seen.push(identifier));
      expect(await run()).toBe(0);
      const changes = [{ op: 'set', field: 'due', value: String(due) } as const];
      await storage().commit({ space: 'cache-actions', scope, id: 'x' }, changes);
      expect(await run()).toBe(1);
      expect(seen).toEqual(['x']);
    });

    it('that was moved long ago costs its worker one look, and one that is stopped none', async () => {
      const tenantId = `tenant ${Math.random()}`;
      const { expiry } = caches({ tenantId });
      const scope = [tenantId, 'a'];
      /** As the hint of an action that was set so long ago. */
      const hint = async (name: string, at: number, agoMs: number) => {
        const id = `${String(at).padStart(15, '0')}:${name}`;
        const madeAt = now() - agoMs;
        const carried = { createdAt: madeAt, updatedAt: madeAt, expiresAt: undefined, ownTtl: undefined };
        await storage().commit({ space: 'cache-due', scope, id }, [{ op: 'touch' }], { carried });
      };
      const hints = async () => {
        const names: string[] = [];
        for await (const { key } of storage().list({ space: 'cache-due', scope })) names.push(key.id.slice(16));
        return names.sort();
      };
      await expiry.set('a', 'moved', { ttl: 60 });
      await hint('moved', now() - 10, 62_000);
      // Whoever made this one may be about to say that the action is due then.
      await expiry.set('a', 'being moved', { ttl: 60 });
      await hint('being moved', now() - 10, 55_000);
      expect(await expiry.runDue('a', () => expect.unreachable())).toBe(0);
      expect(await hints()).toEqual(['being moved', 'being moved', 'moved']);

      const dueOf = async (id: string) =>
        Number((await storage().read({ space: 'cache-actions', scope, id }))?.fields.get('due'));
      await hint('moved', await dueOf('moved'), 62_000);
      await hint('being moved', await dueOf('being moved'), 55_000);
      for (const name of ['moved', 'being moved']) expect(await expiry.delete('a', name)).toBe(true);
      expect(await hints()).toEqual(['being moved', 'being moved']);
    });

    it('that was set again by its own handler runs again later', async () => {
      const { expiry } = caches();
      let runs = 0;
      const run = () =>
        expiry.runDue('tick', async ({ identifier }) => {
          runs++;
          await expiry.set('tick', identifier, { ttl: 1 });
        });
      await expiry.set('tick', 'x', { ttl: 1 });
      for (let i = 1; i <= 2; i++) {
        await pass(1_100);
        await run();
        await run();
        expect(runs).toBe(i);
      }
    });

    it('that threw is tried again later, and the others are not kept waiting', async () => {
      const { expiry } = caches();
      const seen: string[] = [];
      const run = () =>
        expiry.runDue(
          'a',
          ({ identifier }) => {
            seen.push(identifier);
            if (identifier === 'bad' && seen.length < 3) throw new Error('not now');
          },
          { retryMs: 400 },
        );
      await expiry.set('a', 'bad', { ttl: 1 });
      await pass(10);
      await expiry.set('a', 'good', { ttl: 1 });
      await pass(1_100);
      expect(await run()).toBe(1);
      expect(await run()).toBe(0);
      await pass(500);
      expect(await run()).toBe(1);
      expect(seen).toEqual(['bad', 'good', 'bad']);
    });

    it('is run by a worker that looks by itself, until it is stopped', async () => {
      const { expiry } = caches();
      const seen: string[] = [];
      await expiry.set('a', 'late', { ttl: 1 });
      await pass(1_100);
      const stop = expiry.onExpired('a', ({ identifier }) => void seen.push(identifier), { everyMs: 10 });
      await vi.waitUntil(() => seen.length > 0);
      await settle();
      expect(seen).toEqual(['late']);
      await stop();
      await expiry.set('a', 'after', { ttl: 1 });
      await pass(1_100);
      await settle();
      expect(seen).toEqual(['late']);
    });

    it('is not kept waiting by a thousand hints that lead nowhere', async () => {
      const tenantId = `tenant ${Math.random()}`;
      const { expiry } = caches({ tenantId });
      // As they are left by what is moved again and again.
      const id = (i: number) => `${String(now()).padStart(15, '0')}:moved ${i}`;
      const hints = Array.from({ length: 1_001 }, (_, i) => ({
        space: 'cache-due',
        scope: [tenantId, 'a'],
        id: id(i),
      }));
      await Promise.all(hints.map((hint) => storage().commit(hint, [{ op: 'touch' }])));
      await expiry.set('a', 'late', { ttl: 1 });
      await pass(1_100);
      const seen: string[] = [];
      expect(await expiry.runDue('a', ({ identifier }) => void seen.push(identifier))).toBe(1);
      expect(seen).toEqual(['late']);
    });

    it('that is due is left to the next worker by one that is stopped while another runs', async () => {
      const { expiry } = caches();
      for (const identifier of ['a', 'b']) await expiry.set('a', identifier, { ttl: 1 });
      await pass(1_100);
      const seen: string[] = [];
      let release = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      const stop = expiry.onExpired('a', ({ identifier }) => {
        seen.push(identifier);
        return held;
      });
      await vi.waitUntil(() => seen.length > 0);
      const stopped = stop();
      release();
      await stopped;
      expect(seen).toHaveLength(1);
      expect(await expiry.runDue('a', ({ identifier }) => void seen.push(identifier))).toBe(1);
      expect(seen.sort()).toEqual(['a', 'b']);
    });

    it('refuses what it cannot do', async () => {
      const { expiry } = caches();
      for (const ttl of [0, -1, 1.5, 'none' as never, Number.NaN]) {
        await expect(expiry.set('a', 'x', { ttl })).rejects.toMatchObject({ code: 'TTL_INVALID' });
      }
      await expect(expiry.set('', 'x', { ttl: 1 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
      await expect(expiry.set('a', '', { ttl: 1 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
      await expect(expiry.set('a', 'x', { ttl: 1, data: new Map() })).rejects.toMatchObject({ code: 'VALUE_NOT_JSON' });
      expect(() => expiry.onExpired('', () => {})).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    });

    it('runs once across processes; one that is killed in it is followed by another', async () => {
      const given = options();
      if (!given) return;
      const tenantId = `tenant ${Math.random()}`;
      const { expiry } = caches({ tenantId });
      await expiry.set('slow', 'x', { ttl: 1 });
      await pass(1_100);
      const started = { options: given, tenantId, leaseMs: 600 };
      const killed = startWorker(WORKER, { ...started, stay: 60_000 });
      expect((await killed.lines.next()).value).toBe('run x');
      expect(await expiry.runDue('slow', () => {}, { leaseMs: 600 })).toBe(0);
      killed.process.kill('SIGKILL');
      await killed.ended;
      const lines = await Promise.all([0, 1].map(() => runWorker(WORKER, { ...started, stay: 50, until: 1_500 })));
      expect(lines.flat()).toEqual(['run x', 'done x']);
    });
  },
  { sideBySide: true },
);

onEachBackend(
  'what is kept of an expiry action',
  ({ caches, pass, storage }) => {
    const tenantId = 'tenant';
    let expiry: ReturnType<typeof caches>['expiry'];
    beforeEach(() => {
      ({ expiry } = caches({ tenantId }));
    });
    const keyOf = (action: string) => ({ space: 'cache-actions', scope: [tenantId, action], id: 'x' });
    const isFree = async (action: string) =>
      !(await storage().begin(keyOf(action), { token: 'asks', leaseMs: 1 })).busy;

    it('does not keep it from being set again when it is done', async () => {
      await expiry.set('done', 'x', { ttl: 1 });
      await pass(1_000);
      expect(await expiry.runDue('done', () => {})).toBe(1);
      const { expiresAt = 0, updatedAt = 0 } = (await storage().read(keyOf('done'))) ?? {};
      expect(expiresAt - updatedAt).toBe(1_000);
      expect(await isFree('done')).toBe(true);
      await pass(10);
      await expiry.set('done', 'x', { ttl: 60 });
      await pass(60_000);
      expect(await expiry.runDue('done', () => {})).toBe(1);
    });

    it('that throws waits twice as long each time, at most an hour, and anew once it is set again', async () => {
      const run = async () => {
        const handler = () => Promise.reject(new Error('not now'));
        expect(await expiry.runDue('worse', handler, { retryMs: 1_000_000 })).toBe(0);
        return (await expiry.getTtl('worse', 'x')) ?? 0;
      };
      await expiry.set('worse', 'x', { ttl: 1 });
      for (const wait of [1_000, 2_000, 3_600, 3_600]) {
        await pass(3_600_000);
        expect(await run()).toBe(wait);
      }
      await expiry.set('worse', 'x', { ttl: 1 });
      await pass(1_000);
      expect(await run()).toBe(1_000);
    });

    it('that its handler has set again is in the index by its new time alone', async () => {
      await expiry.set('again', 'x', { ttl: 1 });
      await pass(1_000);
      const handler = async () => void (await expiry.set('again', 'x', { ttl: 60 }));
      expect(await expiry.runDue('again', handler)).toBe(1);
      let hints = 0;
      for await (const _ of storage().list({ space: 'cache-due', scope: [tenantId, 'again'] })) hints++;
      expect(hints).toBe(1);
    });

    it('is nothing where it could not be entered in the index, or it would never run', async () => {
      const given = storage();
      const commit = given.commit.bind(given);
      given.commit = async (...args) => {
        if (args[0].space === 'cache-due') throw new Error('died');
        return commit(...args);
      };
      await expect(expiry.set('lost', 'x', { ttl: 1 })).rejects.toThrow('died');
      given.commit = commit;
      expect(await expiry.getTtl('lost', 'x')).toBeUndefined();
    });

    it('that arrives for the same moment while it runs runs, too', async () => {
      const given = storage();
      const commit = given.commit.bind(given);
      let arrive = () => {};
      const late = new Promise<void>((resolve) => {
        arrive = resolve;
      });
      await expiry.set('late', 'x', { ttl: 1, data: 'first' });
      given.commit = async (...args) => {
        if (args[0].space === 'cache-actions') {
          given.commit = commit;
          await late;
        }
        return commit(...args);
      };
      const setting = expiry.set('late', 'x', { ttl: 1, data: 'second' });
      await vi.waitUntil(() => given.commit === commit);
      await pass(1_000);
      const seen: unknown[] = [];
      const handler = async ({ data }: ExpiredEntry) => {
        seen.push(data);
        arrive();
        await setting;
      };
      for (let i = 0; i < 3; i++) await expiry.runDue('late', handler);
      expect(seen).toEqual(['first', 'second']);
    });

    it('that threw is what its handler has set before', async () => {
      await expiry.set('bad', 'x', { ttl: 1 });
      await pass(1_000);
      const handler = async () => {
        await expiry.set('bad', 'x', { ttl: 60, data: 'new' });
        throw new Error('not now');
      };
      expect(await expiry.runDue('bad', handler, { retryMs: 400 })).toBe(0);
      expect(await expiry.getTtl('bad', 'x')).toBe(60);
      expect(await isFree('bad')).toBe(true);
    });

    it('is held for as long as its handler takes', async () => {
      const given = storage();
      const commit = given.commit.bind(given);
      let renewals = 0;
      given.commit = async (...args) => {
        const answer = await commit(...args);
        if (args[2]?.lease?.keepMs) renewals++;
        return answer;
      };
      await expiry.set('slow', 'x', { ttl: 1 });
      await pass(1_000);
      const handler = async () => {
        for (let n = 0; n < 3; n++) {
          await pass(20);
          renewals = 0;
          await expect.poll(() => renewals, { interval: 1 }).toBeGreaterThan(0);
          expect(await expiry.runDue('slow', () => expect.unreachable(), { leaseMs: 30 })).toBe(0);
        }
      };
      expect(await expiry.runDue('slow', handler, { leaseMs: 30 })).toBe(1);
    });
  },
  { backends: ['memory'] },
);
