import { AsyncResource } from 'node:async_hooks';
import { describe, expect, it, vi } from 'vitest';
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
  #held: Promise<void> | undefined;

  /** Commits wait until the answer is called. */
  hold(): () => void {
    let release = () => {};
    this.#held = new Promise((resolve) => {
      release = resolve;
    });
    return () => release();
  }

  override async commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions) {
    await this.#held;
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

  it('leaves nothing in the outer one when the save is refused and it throws', async () => {
    const { context, turn } = setup();
    await turn(async (inside) => {
      await inside.appendToVariable('c', 'list', 1);
      await outside(() => context.setVariable('c', 'n', 'text'));
      const joined = turn(async (within) => {
        await within.appendToVariable('c', 'list', 2);
        await within.addToHistory('c', 'user', 'gone');
        await within.setTtl('c', 7);
        await turn(async (deeper) => {
          await deeper.incrementVariable('c', 'n');
          await deeper.save('c');
        }, 'ada');
      });
      const refused = expect(joined).rejects.toMatchObject({ code: 'WRONG_TYPE' });
      // What the outer one does meanwhile is its own.
      for (let item = 3; item < 30; item++) await inside.appendToVariable('c', 'list', item);
      await refused;
      expect(await inside.getHistory('c')).toEqual([]);
    });
    const list = [1, ...Array.from({ length: 27 }, (_, at) => at + 3)];
    const { userId, variables, history, expiresAt } = await context.getOrCreate('c');
    expect({ userId, variables, history, expiresAt }).toEqual({ variables: { n: 'text', list }, history: [] });
  });

  it('still has what was refused when it goes on', async () => {
    const { context, turn } = setup();
    await turn(async (inside) => {
      await outside(() => context.setVariable('c', 'n', 'text'));
      await turn(async (within) => {
        await within.setVariable('c', 'kept', 1);
        await within.incrementVariable('c', 'n');
        await expect(within.save('c')).rejects.toMatchObject({ code: 'WRONG_TYPE' });
        expect(await inside.getVariables('c')).toEqual({});
        expect(await within.getVariables('c')).toEqual({ kept: 1, n: 1 });
        await within.setVariable('c', 'n', 0);
      });
    });
    expect(await context.getVariables('c')).toEqual({ kept: 1, n: 0 });
  });

  it('sees nothing of those beside it whose save is refused', async () => {
    const { storage, context, turn } = setup();
    await outside(() => context.setVariable('c', 'text', 1));
    await turn(async (inside) => {
      await outside(() => context.setVariable('c', 'text', 'text'));
      const saves = (name: string) =>
        turn(async (within) => {
          await within.incrementVariable('c', name);
          await within.save('c');
          await refused;
          return within.getVariables('c');
        });
      const release = storage.hold();
      const first = saves('n');
      const second = saves('n');
      const refused = expect(saves('text')).rejects.toMatchObject({ code: 'WRONG_TYPE' });
      await new Promise(setImmediate);
      release();
      expect(await Promise.all([first, second])).toEqual([
        { text: 1, n: 1 },
        { text: 1, n: 2 },
      ]);
      expect(await inside.getVariables('c')).toEqual({ text: 1, n: 2 });
    });
    expect(await context.getVariables('c')).toEqual({ text: 'text', n: 2 });
  });

  it('does not begin on what is being saved and may be refused', async () => {
    const { storage, context, turn } = setup();
    await turn(async (inside) => {
      await outside(() => context.setVariable('c', 'n', 'text'));
      const release = storage.hold();
      const saves = turn(async (within) => {
        await within.incrementVariable('c', 'n');
        await within.save('c');
      });
      const refused = expect(saves).rejects.toMatchObject({ code: 'WRONG_TYPE' });
      await new Promise(setImmediate);
      const begins = turn((within) => within.getVariables('c'));
      release();
      await refused;
      expect(await begins).toEqual({});
      expect(await inside.getVariables('c')).toEqual({});
    });
  });

  it('takes nothing with it that the outer one has saved without an answer', async () => {
    const { storage, context, turn } = setup();
    for (const clears of [false, true]) {
      await turn(async (inside) => {
        await inside.incrementVariable('c', 'n');
        storage.lose = 'question';
        await expect(inside.save('c')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
        const joined = turn(async (within) => {
          if (clears) await within.clearContext('c');
          await within.setVariable('c', 'x', 1);
          if (clears) await within.clearContext('c');
          storage.lose = 'question';
          await within.save('c');
        });
        await expect(joined).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
      });
    }
    expect(await context.getVariables('c')).toEqual({ n: 2 });
  });

  it('may be one of another installed copy of the package', async () => {
    const { storage, context, turn } = setup();
    vi.resetModules();
    const copy = await import('../../src/conversation/run-turn.js');
    expect(copy.runTurn).not.toBe(runTurn);
    await turn(async (inside) => {
      await inside.incrementVariable('c', 'n');
      const target = { storage, key: context.keyOf('c'), settings: context.settings, logger: silentLogger };
      await copy.runTurn(target, async (joined) => {
        await joined.apply([{ op: 'increment', field: 'var:n', by: 1 }]);
        await joined.save();
      });
      expect(await outside(() => context.getVariables('c'))).toEqual({ n: 2 });
    });
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

describe('a conversation of nobody that is cleared and taken by somebody while another user has a turn on it', () => {
  it('stays with who has taken it, and gets nothing of that turn', async () => {
    const { context, turn } = setup();
    await context.setVariable('c', 'x', 1);
    const taken = turn(async (inside) => {
      await outside(async () => {
        await context.clearContext('c');
        // Of the same version as the one that the turn has seen.
        await context.getOrCreate('c', { userId: 'ada' });
      });
      await inside.setVariable('c', 'y', 2);
    }, 'grace');
    await expect(taken).rejects.toMatchObject({ code: 'CONTEXT_FORBIDDEN' });
    expect(await context.getOrCreate('c')).toMatchObject({ userId: 'ada', variables: {} });
  });

  it('stays with its user, who has taken it in another way', async () => {
    const { context, turn } = setup();
    await turn(async (inside) => {
      await outside(() => context.getOrCreate('c', { userId: 'ada' }));
      await inside.setVariable('c', 'y', 2);
    }, 'ada');
    expect(await context.getOrCreate('c')).toMatchObject({ userId: 'ada', variables: { y: 2 } });
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
