import { AsyncResource } from 'node:async_hooks';
import { describe, expect, it } from 'vitest';
import { ConversationContext, type ConversationContextOptions } from '../../src/conversation/conversation-context.js';
import { runTurn } from '../../src/conversation/run-turn.js';
import { AgentUpError } from '../../src/errors.js';
import { silentLogger } from '../../src/logger.js';
import type { RecordKey } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { Change, CommitOptions } from '../../src/storage/state-storage.js';
import { TestClock } from '../support/test-clock.js';

/** Loses the answers of commits, written or not, as a network does. */
class LosingStorage extends MemoryStorage {
  lose: 'answer' | 'question' | undefined;

  override async commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions) {
    const { lose } = this;
    this.lose = undefined;
    const answer = lose === 'question' ? undefined : await super.commit(key, changes, options);
    if (lose || !answer) throw new AgentUpError('STORAGE_UNAVAILABLE', 'the answer was lost');
    return answer;
  }
}

function setup(options: ConversationContextOptions = {}) {
  const clock = new TestClock();
  const storage = new LosingStorage({ clock });
  const context = new ConversationContext(storage, { clock, ...options });
  const turn = <R>(handler: (inside: ConversationContext) => Promise<R>, owner?: string): Promise<R> =>
    runTurn({ storage, key: context.keyOf('c'), settings: context.settings, logger: silentLogger, owner }, (running) =>
      handler(context.inTurn(running, 'c', false)),
    ).then(({ result }) => result);
  return { clock, storage, context, turn };
}

const root = new AsyncResource('outside');
const outside = (call: () => Promise<unknown>) => root.runInAsyncScope(call);
const contents = (messages: { content: string }[]) => messages.map(({ content }) => content).join(' ');

describe('a save whose answer is lost', () => {
  it.each(['answer', 'question'] as const)('(%s) is written once when the handler goes on', async (lose) => {
    const { storage, context, turn } = setup();
    await turn(async (inside) => {
      await inside.incrementVariable('c', 'n');
      await inside.addToHistory('c', 'user', 'first');
      storage.lose = lose;
      await expect(inside.save('c')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
      expect(await inside.incrementVariable('c', 'n')).toBe(2);
      await inside.addToHistory('c', 'user', 'second');
    });
    expect(await context.getVariable('c', 'n')).toBe(2);
    expect(contents(await context.getHistory('c'))).toBe('first second');
  });

  it('is written once when nothing follows, and when it is saved again', async () => {
    const { storage, context, turn } = setup();
    for (const again of [false, true]) {
      await turn(async (inside) => {
        await inside.incrementVariable('c', 'n');
        storage.lose = 'answer';
        await inside.save('c').catch(() => {});
        if (again) await inside.save('c');
      });
    }
    expect(await context.getVariable('c', 'n')).toBe(2);
  });

  it('is forgotten where the conversation is cleared', async () => {
    const { storage, context, turn } = setup();
    await turn(async (inside) => {
      await inside.incrementVariable('c', 'n');
      storage.lose = 'question';
      await inside.save('c').catch(() => {});
      await inside.clearContext('c');
      await inside.setVariable('c', 'x', 1);
    });
    expect(await context.getVariables('c')).toEqual({ x: 1 });
  });
});

describe('history in a turn, while others write', () => {
  const pages = async (context: ConversationContext): Promise<string> => {
    const found: string[] = [];
    let page = await context.getHistoryPage('c', { limit: 4 });
    for (let count = 0; ; count++) {
      expect(count).toBeLessThan(10);
      found.unshift(contents(page.messages));
      if (page.start <= page.dropped) return found.filter(Boolean).join(' ');
      page = await context.getHistoryPage('c', { limit: 4, before: page.start });
    }
  };

  it('pages through what there is when a cap drops what was not loaded', async () => {
    const { context, turn } = setup({ history: { load: 3, max: 10 } });
    for (let i = 0; i < 10; i++) await context.addToHistory('c', 'user', `m${i}`);
    await turn(async (inside) => {
      expect(await pages(inside)).toBe('m0 m1 m2 m3 m4 m5 m6 m7 m8 m9');
      await outside(async () => {
        for (let i = 0; i < 4; i++) await context.addToHistory('c', 'user', `x${i}`);
      });
      expect(await pages(inside)).toBe('m4 m5 m6 m7 m8 m9');
      await outside(async () => {
        for (let i = 0; i < 8; i++) await context.addToHistory('c', 'user', `y${i}`);
      });
      expect(await pages(inside)).toBe('m7 m8 m9');
      expect(await inside.getHistoryPage('c', { before: 5 })).toMatchObject({ messages: [] });
    });
  });

  it('mixes in nothing of a history that began anew', async () => {
    const { context, turn } = setup({ history: { load: 3 } });
    for (let i = 0; i < 10; i++) await context.addToHistory('c', 'user', `m${i}`);
    await turn(async (inside) => {
      await outside(async () => {
        await context.clearHistory('c');
        for (let i = 0; i < 2; i++) await context.addToHistory('c', 'user', `x${i}`);
      });
      expect(await pages(inside)).toBe('m7 m8 m9');
    });
  });
});

describe('the time to live in a turn', () => {
  it('is the one that was set', async () => {
    const { context, turn } = setup({ ttl: 100 });
    await turn(async (inside) => {
      await inside.setVariable('c', 'x', 1);
      expect(await inside.getTtl('c')).toBe(100);
      await inside.setTtl('c', 7);
      expect(await inside.getTtl('c')).toBe(7);
      await turn(async (joined) => {
        expect(await joined.getTtl('c')).toBe(7);
        await joined.setTtl('c', 'none');
        expect(await joined.getTtl('c')).toBeNull();
      });
      expect(await inside.getTtl('c')).toBeNull();
      expect((await inside.getOrCreate('c')).expiresAt).toBeUndefined();
    });
    expect(await context.getTtl('c')).toBeNull();
  });

  it.each(['in the turn', 'in one that joins it'])('goes with the conversation that is cleared %s', async (where) => {
    const { context, turn } = setup({ ttl: 100 });
    await context.setVariable('c', 'x', 1);
    await context.setTtl('c', 5000);
    await turn(async (inside) => {
      await inside.setTtl('c', 6000);
      const renew = async (in_: ConversationContext) => {
        await in_.clearContext('c');
        await in_.setVariable('c', 'y', 1);
        expect(await in_.getTtl('c')).toBe(100);
      };
      await (where === 'in the turn' ? renew(inside) : turn(renew));
      expect(await inside.getTtl('c')).toBe(100);
    });
    expect(await context.getTtl('c')).toBe(100);
    await context.setVariable('c', 'y', 2);
    expect(await context.getTtl('c')).toBe(100);
  });
});

describe('a turn that joins another one and saves', () => {
  it('sees what the storage came to, as the outer one does', async () => {
    const { context, turn } = setup({ ttl: 100 });
    await turn(async (inside) => {
      await turn(async (joined) => {
        await joined.incrementVariable('c', 'n');
        await joined.setTtl('c', 7);
        await outside(() => context.incrementVariable('c', 'n', 10));
        await joined.save('c');
        expect(await joined.getTtl('c')).toBe(7);
        expect(await joined.incrementVariable('c', 'n')).toBe(12);
        expect(await joined.getOrCreate('c')).toMatchObject({ userId: 'ada' });
      });
      expect(await inside.getVariable('c', 'n')).toBe(12);
    }, 'ada');
    expect(await context.getVariables('c')).toEqual({ n: 12 });
  });
});

describe('the owner', () => {
  it('is the user of the turn that joined and wrote first', async () => {
    const { context, turn } = setup();
    await turn(async () => {
      await turn((joined) => joined.setVariable('c', 'x', 1), 'ada');
    });
    expect(await context.getOrCreate('c')).toMatchObject({ userId: 'ada' });
  });

  it('is one of several users who ask for a conversation of nobody at once', async () => {
    const { context } = setup();
    await context.setVariable('c', 'x', 1);
    const users = ['ada', 'grace', 'edsger'];
    const asked = await Promise.allSettled(users.map((userId) => context.getOrCreate('c', { userId })));
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const { userId } = await context.getOrCreate('c');
    expect(asked[users.indexOf(userId ?? '')]).toMatchObject({ status: 'fulfilled' });
  });
});

describe('what a storage would refuse at the end', () => {
  it('is refused when it is said: a name, or a user, that no key can hold', async () => {
    const { context, turn } = setup();
    let ran = false;
    await turn(async (inside) => {
      await inside.setVariable('c', 'kept', 1);
      await expect(inside.setVariable('c', 'a\ud800', 1)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    });
    expect(await context.getVariables('c')).toEqual({ kept: 1 });
    for (const owner of ['', 'a\ud800', 'x'.repeat(2000)]) {
      await expect(
        turn(async () => {
          ran = true;
        }, owner),
      ).rejects.toBeInstanceOf(AgentUpError);
    }
    expect(ran).toBe(false);
  });
});

describe('very long waits and leases', () => {
  it('are as long as a timer can be, not over at once', async () => {
    const { storage, turn } = setup({ wait: 4_000_000, lease: 10_000_000 });
    let commits = 0;
    const commit = storage.commit.bind(storage);
    storage.commit = (...args) => {
      commits++;
      return commit(...args);
    };
    const order: number[] = [];
    const pause = () => new Promise((done) => setTimeout(done, 20));
    await Promise.all(
      [1, 2].map((n) =>
        turn(async (inside) => {
          await pause();
          order.push(n);
          await inside.setVariable('c', 'n', n);
        }),
      ),
    );
    expect(order).toEqual([1, 2]);
    expect(commits).toBe(2);
  });
});
