import { AsyncResource } from 'node:async_hooks';
import { describe, expect, it } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { runTurn } from '../../src/conversation/run-turn.js';
import type { Turn } from '../../src/conversation/turn.js';
import { silentLogger } from '../../src/logger.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { RecordingStorage } from '../support/recording-storage.js';

function setup(options: ConstructorParameters<typeof ConversationContext>[1] = {}) {
  const storage = new RecordingStorage(new MemoryStorage());
  const context = new ConversationContext(storage, options);
  const turn = <R>(id: string, handler: (inside: ConversationContext, turn: Turn) => R | Promise<R>): Promise<R> =>
    runTurn({ storage, key: context.keyOf(id), settings: context.settings, logger: silentLogger }, (running) =>
      handler(context.inTurn(running, id, false), running),
    ).then(({ result }) => result);
  return { storage, context, turn };
}

const tick = () => new Promise((resolve) => setImmediate(resolve));

describe('a turn', () => {
  it('costs one begin and one commit, whatever the handler does', async () => {
    const { storage, turn } = setup();
    await turn('c', async (context) => {
      for (let i = 0; i < 20; i++) {
        await context.incrementVariable('c', 'n');
        await context.setVariable('c', `v${i}`, i);
        await context.addToHistory('c', 'user', `message ${i}`);
        await context.getHistory('c', { limit: 5 });
        await context.setMetadata('c', 'at', i);
      }
    });
    expect(storage.calls.map(({ name }) => name)).toEqual(['begin', 'commit']);
  });

  it('reads its own writes', async () => {
    const { turn } = setup();
    await turn('c', async (context) => {
      expect(await context.getVariable('c', 'x', 'none')).toBe('none');
      await context.setVariable('c', 'x', { deep: [1] });
      expect(await context.getVariable('c', 'x')).toEqual({ deep: [1] });
      expect(await context.incrementVariable('c', 'n', 3)).toBe(3);
      expect(await context.incrementVariable('c', 'n')).toBe(4);
      await context.appendToVariable('c', 'list', 'a');
      await context.appendToVariable('c', 'list', { b: 1 });
      expect(await context.getVariable('c', 'list')).toEqual(['a', { b: 1 }]);
      expect(await context.deleteVariable('c', 'x')).toBe(true);
      expect(await context.getVariable('c', 'x')).toBeUndefined();
      await context.addToHistory('c', 'bot', 'hello');
      expect(await context.getHistory('c')).toMatchObject([{ role: 'assistant', content: 'hello' }]);
      expect(await context.getVariables('c')).toEqual({ n: 4, list: ['a', { b: 1 }] });
    });
  });

  it('keeps nothing of a handler that throws, calls it once, and leaves the conversation free', async () => {
    const { turn, context, storage } = setup();
    let calls = 0;
    const failing = turn('c', async (inside) => {
      calls++;
      await inside.setVariable('c', 'x', 1);
      await inside.addToHistory('c', 'user', 'lost');
      throw new Error('the handler failed');
    });
    await expect(failing).rejects.toThrow('the handler failed');
    expect(calls).toBe(1);
    expect(await context.getTtl('c')).toBeUndefined();
    storage.calls.length = 0;
    await turn('c', (inside) => inside.setVariable('c', 'x', 2));
    expect(storage.calls.filter(({ name }) => name === 'begin')).toHaveLength(1);
  });

  it('writes nothing and renews nothing when the handler only read', async () => {
    const { turn, context } = setup({ ttl: 100 });
    await turn('c', (inside) => inside.getVariable('c', 'x'));
    expect(await context.getTtl('c')).toBeUndefined();
  });

  it('sends deltas: what another writer did meanwhile is merged, not overwritten', async () => {
    const { turn, context } = setup();
    await context.setVariable('c', 'mine', 'old');
    await turn('c', async (inside) => {
      await inside.setVariable('c', 'mine', 'new');
      await inside.incrementVariable('c', 'n');
      await inside.appendToVariable('c', 'list', 'turn');
      const other = new ConversationContext(context.storage).conversation('c');
      await outside(async () => {
        await other.setVariable('theirs', 'kept');
        await other.incrementVariable('n', 10);
        await other.appendToVariable('list', 'other');
      });
    });
    expect(await context.getVariables('c')).toEqual({ mine: 'new', theirs: 'kept', n: 11, list: ['other', 'turn'] });
  });

  it('begins anew what it deletes and then counts or appends to', async () => {
    const { turn, context } = setup();
    await context.setVariable('c', 'n', 5);
    await context.setVariable('c', 'list', ['old']);
    await turn('c', async (inside) => {
      await inside.deleteVariable('c', 'n');
      expect(await inside.incrementVariable('c', 'n')).toBe(1);
      await inside.deleteVariable('c', 'list');
      await inside.appendToVariable('c', 'list', 'new');
    });
    expect(await context.getVariables('c')).toEqual({ n: 1, list: ['new'] });
  });

  it('adds up what is too much for one increment, where the sum is not', async () => {
    const { turn, context } = setup();
    await context.setVariable('c', 'n', Number.MIN_SAFE_INTEGER);
    await turn('c', async (inside) => {
      await inside.incrementVariable('c', 'n', Number.MAX_SAFE_INTEGER);
      expect(await inside.incrementVariable('c', 'n', Number.MAX_SAFE_INTEGER)).toBe(Number.MAX_SAFE_INTEGER);
    });
    expect(await context.getVariable('c', 'n')).toBe(Number.MAX_SAFE_INTEGER);
  });

  it('has the history at hand also where its message may come again', async () => {
    const { storage, context } = setup();
    await context.addToHistory('c', 'user', 'before');
    storage.calls.length = 0;
    const target = { storage, key: context.keyOf('c'), settings: context.settings, logger: silentLogger };
    const { result } = await runTurn({ ...target, idempotencyKey: 'm' }, (running) =>
      context.inTurn(running, 'c', false).getHistory('c'),
    );
    expect(result).toMatchObject([{ content: 'before' }]);
    expect(storage.calls.map(({ name }) => name)).not.toContain('readLog');
  });

  it('runs turns of one conversation one after the other, in the order they came, others at once', async () => {
    const { turn } = setup();
    const events: string[] = [];
    const step = (id: string, name: string) =>
      turn(id, async () => {
        events.push(`${name} in`);
        await tick();
        await tick();
        events.push(`${name} out`);
      });
    await Promise.all([step('a', '1'), step('a', '2'), step('a', '3'), step('b', 'other')]);
    expect(events.filter((event) => !event.startsWith('other'))).toEqual([
      '1 in',
      '1 out',
      '2 in',
      '2 out',
      '3 in',
      '3 out',
    ]);
    expect(events.indexOf('other in')).toBeLessThan(events.indexOf('1 out'));
  });

  it('counts right in 50 turns at once that read, wait and write', async () => {
    const { turn, context } = setup();
    await Promise.all(
      Array.from({ length: 50 }, () =>
        turn('c', async (inside) => {
          const n = await inside.getVariable('c', 'n', 0);
          await tick();
          await inside.setVariable('c', 'n', n + 1);
        }),
      ),
    );
    expect(await context.getVariable('c', 'n')).toBe(50);
  });

  it('is joined by a turn of the same conversation called inside it, which sees and keeps its changes', async () => {
    const { turn, context, storage } = setup();
    await turn('c', async (outer) => {
      await outer.setVariable('c', 'a', 1);
      await turn('c', async (inner) => {
        expect(await inner.getVariable('c', 'a')).toBe(1);
        await inner.incrementVariable('c', 'b', 5);
      });
      expect(await outer.getVariable('c', 'b')).toBe(5);
    });
    expect(await context.getVariables('c')).toEqual({ a: 1, b: 5 });
    expect(storage.calls.filter(({ name }) => name === 'begin')).toHaveLength(1);
  });

  it('drops what a joined handler did when that one throws and the outer goes on', async () => {
    const { turn, context } = setup();
    await turn('c', async (outer) => {
      await outer.setVariable('c', 'kept', true);
      await turn('c', async (inner) => {
        await inner.setVariable('c', 'kept', false);
        await inner.addToHistory('c', 'user', 'dropped');
        throw new Error('inner');
      }).catch(() => {});
      expect(await outer.getVariable('c', 'kept')).toBe(true);
    });
    expect(await context.getVariables('c')).toEqual({ kept: true });
    expect(await context.getHistory('c')).toEqual([]);
  });

  it('takes a turn of its own for another conversation', async () => {
    const { turn, context } = setup();
    await expect(
      turn('a', async (a) => {
        await a.setVariable('a', 'x', 1);
        await turn('b', (b) => b.setVariable('b', 'x', 2));
        throw new Error('only a fails');
      }),
    ).rejects.toThrow();
    expect(await context.getVariables('a')).toEqual({});
    expect(await context.getVariables('b')).toEqual({ x: 2 });
  });

  it('is joined by any context on the same storage used inside it', async () => {
    const { turn, context } = setup();
    await expect(
      turn('c', async () => {
        await new ConversationContext(context.storage).setVariable('c', 'x', 1);
        throw new Error('rolled back');
      }),
    ).rejects.toThrow();
    expect(await context.getVariable('c', 'x')).toBeUndefined();
  });

  it('save() keeps what is there so far when the handler throws later', async () => {
    const { turn, context } = setup();
    await expect(
      turn('c', async (inside) => {
        await inside.setVariable('c', 'saved', 1);
        await inside.addToHistory('c', 'user', 'saved');
        await inside.save('c');
        await inside.setVariable('c', 'lost', 1);
        throw new Error('later');
      }),
    ).rejects.toThrow();
    expect(await context.getVariables('c')).toEqual({ saved: 1 });
    expect(await context.getHistory('c')).toHaveLength(1);
  });

  it('save() loses nothing that is written while it runs, and does not write twice', async () => {
    const { turn, context } = setup();
    await turn('c', async (inside) => {
      await inside.incrementVariable('c', 'n');
      await Promise.all([inside.save('c'), inside.incrementVariable('c', 'n'), inside.save('c')]);
      await inside.addToHistory('c', 'user', 'after');
    });
    expect(await context.getVariable('c', 'n')).toBe(2);
    expect(await context.getHistory('c')).toHaveLength(1);
  });

  it('refuses calls on its context after its end: an await was forgotten', async () => {
    const { turn, context } = setup();
    let leaked: ConversationContext | undefined;
    await turn('c', (inside) => {
      leaked = inside;
    });
    await expect(leaked?.setVariable('c', 'x', 1)).rejects.toMatchObject({ code: 'TURN_ENDED' });
    await expect(leaked?.getVariable('c', 'x')).rejects.toMatchObject({ code: 'TURN_ENDED' });
    expect(await context.getVariable('c', 'x')).toBeUndefined();
  });

  it('clears the conversation: everything goes, at its end, and what is written after that stays', async () => {
    const { turn, context } = setup();
    await context.setVariable('c', 'x', 1);
    await context.addToHistory('c', 'user', 'old');
    await expect(
      turn('c', async (inside) => {
        await inside.clearContext('c');
        throw new Error('not cleared after all');
      }),
    ).rejects.toThrow();
    expect(await context.getVariable('c', 'x')).toBe(1);
    await turn('c', async (inside) => {
      await inside.clearContext('c');
      expect(await inside.getHistory('c')).toEqual([]);
      await inside.setVariable('c', 'y', 2);
    });
    expect(await context.getVariables('c')).toEqual({ y: 2 });
    expect(await context.getHistory('c')).toEqual([]);
    await turn('c', (inside) => inside.clearContext('c'));
    expect(await context.getTtl('c')).toBeUndefined();
    for await (const left of context.listContexts()) expect.fail(left.contextId);
  });

  it('fetches older history than its snapshot holds, in the right order, with what it added', async () => {
    const { turn, context, storage } = setup({ history: { load: 3 } });
    for (let i = 0; i < 10; i++) await context.addToHistory('c', 'user', `m${i}`);
    const contents = (messages: { content: string }[]) => messages.map(({ content }) => content).join(' ');
    await turn('c', async (inside) => {
      storage.calls.length = 0;
      await inside.addToHistory('c', 'assistant', 'new');
      expect(contents(await inside.getHistory('c', { limit: 3 }))).toBe('m8 m9 new');
      expect(storage.calls).toEqual([]);
      expect(contents(await inside.getHistory('c'))).toBe('m0 m1 m2 m3 m4 m5 m6 m7 m8 m9 new');
      expect(contents(await inside.getHistory('c', { limit: 4, before: 8 }))).toBe('m4 m5 m6 m7');
      expect(contents(await inside.getHistory('c', { limit: 2, before: 2 }))).toBe('m0 m1');
      expect(await inside.getHistory('c', { before: 0 })).toEqual([]);
      expect(await inside.getHistoryPage('c', { limit: 2, before: 9 })).toMatchObject({ start: 7, total: 11 });
    });
    expect(contents(await context.getHistory('c', { limit: 2 }))).toBe('m9 new');
  });

  it('says that the conversation is busy when too many wait, or the wait is too long', async () => {
    const { turn } = setup({ wait: 0.02, maxWaiting: 2 });
    let release = (): void => {};
    const holder = turn(
      'c',
      () =>
        new Promise<void>((resolve) => {
          release = resolve;
        }),
    );
    await tick();
    const told: string[] = [];
    const refusal = (name: string) =>
      turn('c', () => 'run').catch((error: { code: string }) => told.push(`${name}: ${error.code}`));
    // Who is one too many is told at once, and waits for nobody.
    await Promise.all([refusal('late'), refusal('one too many')]);
    expect(told).toEqual(['one too many: CONVERSATION_BUSY', 'late: CONVERSATION_BUSY']);
    release();
    await holder;
    expect(await turn('c', () => 'free again')).toBe('free again');
  });

  it('loses its lease to another holder after its end, and then commits nothing', async () => {
    let now = 1_000_000;
    const storage = new MemoryStorage({ clock: { now: () => now } });
    const context = new ConversationContext(storage, { lease: 10 });
    const key = context.keyOf('c');
    const late = runTurn({ storage, key, settings: context.settings, logger: silentLogger }, async (running) => {
      const inside = context.inTurn(running, 'c', false);
      await inside.setVariable('c', 'x', 'late');
      now += 10_001;
      await outside(async () => {
        await storage.begin(key, { token: 'another process', leaseMs: 10_000 });
      });
    });
    await expect(late).rejects.toMatchObject({ code: 'LEASE_LOST' });
    expect(await context.getVariable('c', 'x')).toBeUndefined();
  });

  it('in parallel runs beside others, and its changes merge', async () => {
    const { turn, context } = setup({ concurrency: 'parallel' });
    let inside = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 10 }, () =>
        turn('c', async (mine) => {
          most = Math.max(most, ++inside);
          await tick();
          await mine.incrementVariable('c', 'n');
          await mine.addToHistory('c', 'user', 'hi');
          inside--;
        }),
      ),
    );
    expect(most).toBeGreaterThan(1);
    expect(await context.getVariable('c', 'n')).toBe(10);
    expect(await context.getHistory('c')).toHaveLength(10);
  });
});

const root = new AsyncResource('outside');

/** Runs code as if another process ran it: outside of the turn that calls it. */
async function outside(call: () => Promise<void>): Promise<void> {
  await root.runInAsyncScope(call);
}
