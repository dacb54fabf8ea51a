import { Writable } from 'node:stream';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConversationContext, withState } from '../../src/index.js';
import { operationsLogger, silentLogger, stderrLogger } from '../../src/logger.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { ObservedStorage } from '../../src/storage/observed-storage.js';
import { openStorage } from '../../src/storage/open-storage.js';

const key = { space: 'contexts', scope: ['tenant'], id: 'Ada' };

function pinoAt(level: string): { logger: ReturnType<typeof pino>; lines: () => Record<string, unknown>[] } {
  let text = '';
  const stream = new Writable({
    write(chunk, _, done) {
      text += chunk;
      done();
    },
  });
  const lines = () =>
    text
      .trim()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { logger: pino({ level }, stream), lines };
}

afterEach(() => vi.unstubAllEnvs());
beforeEach(() => vi.stubEnv('AGENTUP_LOG', ''));

describe('pino as the logger', () => {
  it('gets every call of the storage on the level debug, with ids and timings, without values', async () => {
    const { logger, lines } = pinoAt('debug');
    const storage = await openStorage({ backend: 'memory' }, { logger });
    await storage.begin(key, { token: 'token-1', leaseMs: 60_000, log: 1 });
    await storage.begin(key, { token: 'token-2', leaseMs: 60_000 });
    const changes = [
      { op: 'set', field: 'secret-name', value: '"Zdenka"' },
      { op: 'log', entry: '"Zdenka"' },
      { op: 'log', entry: '"Zdenka"' },
    ] as const;
    await storage.commit(key, changes, { lease: { token: 'token-1' } });
    await storage.commit(key, [], { condition: { exists: false } });
    await expect(storage.commit(key, [], { lease: { token: 'token-1' } })).rejects.toThrow();
    await storage.read(key, { log: 1 });
    await storage.readLog(key, { limit: 1 });
    for await (const _ of storage.list({ space: 'contexts', scope: ['tenant'] }));
    await storage.sweep({ space: 'contexts', updatedBefore: 0 });
    await storage.delete(key);
    const place = 'contexts/tenant/:%41da on memory';
    const said = lines().map(({ level, msg }) => `${level} ${String(msg).replace(/\d+\.\d\d ms/, '* ms')}`);
    expect(said).toEqual([
      `20 state begin ${place}: ok in * ms, no record`,
      `20 state begin ${place}: busy in * ms`,
      `20 state commit ${place}: ok in * ms, version 1, 1 set, 2 log`,
      `20 state commit ${place}: refused in * ms`,
      `20 state commit ${place}: LEASE_LOST in * ms`,
      `20 state read ${place}: ok in * ms, version 1, 1 fields, 1 entries`,
      `20 state readLog ${place}: ok in * ms, 1 of 2 entries`,
      '20 state list contexts/tenant on memory: ok in * ms, 1 records',
      '20 state sweep contexts on memory: ok in * ms, 0 records',
      `20 state delete ${place}: ok in * ms`,
    ]);
    expect(JSON.stringify(lines())).not.toMatch(/Zdenka|secret-name|token-/);
    await storage.close();
  });

  it('gets nothing of it on another level, and warnings with their error', async () => {
    const { logger, lines } = pinoAt('info');
    const storage = await openStorage({ backend: 'memory' }, { logger });
    const context = new ConversationContext(storage, { logger });
    const down = Object.assign(new MemoryStorage(), {
      begin: () => Promise.reject(new Error('cable cut')),
    });
    await context.setVariable('c', 'a', 1);
    expect(lines()).toEqual([]);
    const failing = Object.assign(new MemoryStorage(), {});
    const commit = failing.commit.bind(failing);
    failing.commit = (on, changes, options) =>
      changes.length === 0 ? Promise.reject(new Error('cable cut')) : commit(on, changes, options);
    const handle = withState(() => Promise.reject(new Error('handler')), { storage: failing });
    await expect(handle({ id: '1', text: '' }, new ConversationContext(failing, { logger }))).rejects.toThrow(
      'handler',
    );
    void down;
    expect(lines()).toMatchObject([{ level: 40, msg: 'a lease could not be released', err: { message: 'cable cut' } }]);
    await storage.close();
  });
});

describe('AGENTUP_LOG=debug', () => {
  it('asks for the calls where a logger cannot tell its level, or there is none', async () => {
    const { debug, info, warn, error } = silentLogger;
    const plain = { debug, info, warn, error };
    expect([operationsLogger(plain), operationsLogger(undefined)]).toEqual([undefined, undefined]);
    vi.stubEnv('AGENTUP_LOG', 'debug');
    expect(operationsLogger(plain)).toBe(plain);
    expect(operationsLogger(silentLogger)).toBeUndefined();
    const written: string[] = [];
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => written.push(String(text)) > 0);
    try {
      const storage = await openStorage({ backend: 'memory' });
      await storage.read(key);
      await storage.close();
    } finally {
      vi.mocked(process.stderr.write).mockRestore();
    }
    expect(written).toEqual([
      expect.stringMatching(/^debug: state read contexts\/tenant\/:%41da on memory: ok in \d+\.\d\d ms, no record\n$/),
    ]);
  });

  it('is the level of the command line’s logger', () => {
    expect(stderrLogger('debug').isLevelEnabled?.('debug')).toBe(true);
    expect(stderrLogger('warn').isLevelEnabled?.('debug')).toBe(false);
    expect(operationsLogger(stderrLogger('warn'))).toBeUndefined();
  });
});

it('a list that is left early, or fails, is reported once', async () => {
  const { logger, lines } = pinoAt('debug');
  const inner = new MemoryStorage();
  const storage = new ObservedStorage(inner, logger);
  for (const id of ['a', 'b', 'c']) await inner.commit({ ...key, id }, [{ op: 'touch' }]);
  for await (const _ of storage.list({ space: 'contexts' })) break;
  await inner.close();
  await expect(storage.list({ space: 'contexts' })[Symbol.asyncIterator]().next()).rejects.toThrow();
  const said = lines().map(({ msg }) => String(msg).replace(/\d+\.\d\d ms/, '* ms'));
  expect(said).toEqual([
    'state list contexts on memory: ok in * ms, 1 records',
    'state list contexts on memory: STORAGE_CLOSED in * ms',
  ]);
});
