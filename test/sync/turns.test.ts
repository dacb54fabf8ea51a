import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Agent } from '../../src/agent/agent.js';
import { createAgent } from '../../src/agent/create-agent.js';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { AgentUpError } from '../../src/errors.js';
import { silentLogger } from '../../src/logger.js';
import { handler } from '../../src/skill/handler.js';
import { injected } from '../../src/skill/injected.js';
import { inputRequired } from '../../src/skill/input-required.js';
import { skill } from '../../src/skill/skill.js';
import { stateful } from '../../src/skill/stateful.js';
import type { Task } from '../../src/skill/task.js';
import { withState } from '../../src/skill/with-state.js';
import { ForwardingStorage } from '../../src/storage/forwarding-storage.js';
import type { RecordKey } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { Change, CommitOptions, StateStorage } from '../../src/storage/state-storage.js';
import { autoSyncState } from '../../src/sync/auto-sync-state.js';
import { ConversationSync } from '../../src/sync/conversation-sync.js';
import { createSync } from '../../src/sync/create-sync.js';
import type { ConversationSyncOptions } from '../../src/sync/sync-types.js';
import { trackMessages } from '../../src/sync/track-messages.js';
import { ConversationRemote } from '../support/conversation-remote.js';
import { TestClock } from '../support/test-clock.js';

let remote: ConversationRemote;
let storage: StateStorage;
let sync: ConversationSync;
const clock = new TestClock();
const optionsOf = (): Omit<ConversationSyncOptions, 'storage'> => ({
  client: { baseUrl: remote.url, apiKey: 'test-key', timeoutMs: 5_000 },
  subDomain: 'shop',
  background: false,
  clock,
});

beforeEach(async () => {
  remote = await new ConversationRemote().start();
  storage = new MemoryStorage({ clock });
  sync = new ConversationSync({ storage, ...optionsOf() });
});
afterEach(async () => {
  await sync.close();
  await storage.close();
  await remote[Symbol.asyncDispose]();
});

type Handle = (task: Task, context: ConversationContext, contextId: string) => Promise<unknown>;
const run = (handle: Handle, on = storage, contextId = 'c1'): Promise<unknown> =>
  withState(handle as never, {})(
    { id: 't', contextId, text: 'hi', userId: 'ana' },
    new ConversationContext(on, { clock }),
  ) as unknown as Promise<unknown>;

/** Dies before whatever comes after the commit that ends a turn. */
class DyingStorage extends MemoryStorage {
  dead = false;
  override async read(...args: Parameters<MemoryStorage['read']>) {
    if (this.dead) throw new Error('dead');
    return super.read(...args);
  }
  override async commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions) {
    if (this.dead) throw new Error('dead');
    const answer = await super.commit(key, changes, options);
    if (key.space === 'contexts' && changes.length > 0) this.dead = true;
    return answer;
  }
}

describe('in a turn', () => {
  it('sends what was committed, with it, and the reply does not wait', async () => {
    await run(async (_task, context, id) => {
      await context.setVariable(id, 'n', 1);
      expect(await sync.addMessage('ana', 'user', 'hi')).toEqual({ status: 'queued' });
      await sync.addMessage('bob', 'user', 'of another');
      await sync.syncState('ana', { payment_method: 'cash' });
      // Not before the turn is committed.
      expect(await sync.flush()).toEqual({ pending: 0 });
    });
    expect(remote.seen).toEqual([]);
    await sync.flush();
    expect(await remote.said('ana')).toEqual(['hi']);
    expect(await remote.said('bob')).toEqual(['of another']);
    expect((await remote.of('ana'))[0]).toMatchObject({ context: { paymentMethod: 'cash' } });
    // What was sent has left the conversation, and nothing of it is seen there.
    expect((await storage.read({ space: 'contexts', scope: [], id: 'c1' }))?.fields.has('outgoing')).toBe(false);
    expect(await notes()).toBe(0);
  });

  it('never sends what was taken back', async () => {
    await expect(
      run(async () => {
        await sync.addMessage('ana', 'user', 'hi');
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    await sync.flush();
    expect(remote.seen).toEqual([]);
    expect(await notes()).toBe(0);
  });

  it('sends what was saved before the handler failed', async () => {
    await expect(
      run(async (_task, context, id) => {
        await sync.addMessage('ana', 'user', 'saved');
        await context.save(id);
        await sync.addMessage('ana', 'user', 'not saved');
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    await sync.flush();
    expect(await remote.said('ana')).toEqual(['saved']);
  });

  it('leaves out what a turn inside it took back', async () => {
    await run(async () => {
      await sync.addMessage('ana', 'user', 'outer');
      await run(async () => {
        await sync.addMessage('ana', 'user', 'inner, lost');
        throw new Error('no');
      }).catch(() => {});
      await run(async () => sync.addMessage('ana', 'user', 'inner, kept'));
    });
    await sync.flush();
    expect(await remote.said('ana')).toEqual(['outer', 'inner, kept']);
  });

  it('sends what a turn says that erases its conversation', async () => {
    await run(async (_task, context, id) => context.setVariable(id, 'n', 1));
    await run(async (_task, context, id) => {
      await sync.addMessage('ana', 'user', 'bye');
      await sync.end('ana');
      await context.clearContext(id);
    });
    await sync.flush();
    expect(await remote.of('ana')).toMatchObject([{ isActive: false, messageCount: 1 }]);
    clock.advance(1_001);
    expect(await storage.read({ space: 'contexts', scope: [], id: 'c1' })).toBeUndefined();
  });

  it('would be found after a crash from the moment the call returns', async () => {
    const commit = storage.commit.bind(storage);
    storage.commit = async (key, ...rest) => {
      if (key.space === 'sync-turns') await delay(20);
      return commit(key, ...rest);
    };
    await run(async () => {
      await sync.addMessage('ana', 'user', 'hi');
      expect(await notes()).toBe(1);
    });
  });

  it('is not awaited by a handler, and part of its turn all the same', async () => {
    await run(async () => void sync.addMessage('ana', 'user', 'hi'));
    await sync.flush();
    expect(await remote.said('ana')).toEqual(['hi']);
  });

  it('keeps the order over many turns and what is said outside them', async () => {
    for (let i = 0; i < 10; i++) {
      await run(async () => sync.addMessage('ana', 'user', `turn ${i}`));
      if (i === 5) await sync.flush();
      await sync.addMessage('ana', 'user', `outside ${i}`);
    }
    await sync.flush();
    expect(await remote.said('ana')).toEqual(
      Array.from({ length: 10 }, (_, i) => [`turn ${i}`, `outside ${i}`]).flat(),
    );
  });

  it.each([0, 30 * 86_400_000])('finds what a process committed that died then, %i ms later', async (later) => {
    const dying = new DyingStorage({ clock });
    const own = new ConversationSync({ storage: dying, ...optionsOf() });
    await run(async () => own.addMessage('ana', 'user', 'hi'), dying).catch(() => {});
    await own.close();
    dying.dead = false;
    clock.advance(later);
    await using next = new ConversationSync({ storage: dying, ...optionsOf() });
    // The commit that moves it lets it die no more.
    Object.defineProperty(dying, 'dead', { get: () => false, set: () => {} });
    await next.flush();
    await next.flush();
    expect(await remote.said('ana')).toEqual(['hi']);
    clock.advance(120_000);
    await next.flush();
    expect(await notes(dying)).toBe(0);
    expect(await remote.said('ana')).toEqual(['hi']);
  });

  it('finds it beside a conversation that cannot be read any more', async () => {
    const dying = new DyingStorage({ clock });
    const own = new ConversationSync({ storage: dying, ...optionsOf() });
    for (const id of ['c1', 'c2']) {
      await run(async () => own.addMessage(id, 'user', 'hi'), dying, id).catch(() => {});
      dying.dead = false;
    }
    await own.close();
    const damaged = (key: RecordKey): void => {
      if (key.id === 'c1') throw new AgentUpError('RECORD_CORRUPT', 'damaged');
    };
    const late = new (class extends ForwardingStorage {
      override async begin(...args: Parameters<StateStorage['begin']>) {
        damaged(args[0]);
        return super.begin(...args);
      }
      override async read(...args: Parameters<StateStorage['read']>) {
        damaged(args[0]);
        return super.read(...args);
      }
    })(dying);
    Object.defineProperty(dying, 'dead', { get: () => false, set: () => {} });
    for (const later of [0, 120_000]) {
      clock.advance(later);
      const logged: unknown[] = [];
      const logger = { ...silentLogger, error: (error: unknown) => void logged.push(error) };
      await using next = new ConversationSync({ storage: late, ...optionsOf(), logger });
      await next.flush();
      expect(await remote.said('c2')).toEqual(['hi']);
      expect(logged).toEqual([expect.objectContaining({ code: 'RECORD_CORRUPT' })]);
      expect(await notes(dying)).toBe(later === 0 ? 2 : 1);
    }
  });

  it('loses nothing that a turn of another process says while what it found is being moved', async () => {
    const commit = storage.commit.bind(storage);
    let met = false;
    storage.commit = async (key, changes, options) => {
      if (!met && changes.some((change) => change.op === 'remove' && change.field === 'outgoing')) {
        met = true;
        const [said] = JSON.parse((await storage.read(key))?.fields.get('outgoing') ?? '[]');
        const item = JSON.stringify({ ...said, id: `${said.id}2` }).replace('"first"', '"second"');
        await commit(key, [{ op: 'append', field: 'outgoing', item }]);
      }
      return commit(key, changes, options);
    };
    await run(async (_task, context, id) => {
      await context.setVariable(id, 'n', 1);
      await sync.addMessage('ana', 'user', 'first');
    });
    await sync.flush();
    expect(met).toBe(true);
    expect(await remote.said('ana')).toEqual(['first', 'second']);
  });

  it('leaves a conversation that begins anew while the goodbye of the one before is being moved', async () => {
    const commit = storage.commit.bind(storage);
    let met = false;
    storage.commit = async (key, changes, options) => {
      if (!met && changes.some((change) => change.op === 'remove' && change.field === 'outgoing')) {
        met = true;
        await commit(key, [{ op: 'set', field: 'var:n', value: '1' }]);
      }
      return commit(key, changes, options);
    };
    await run(async (_task, context, id) => {
      await sync.addMessage('ana', 'user', 'bye');
      await context.clearContext(id);
    });
    await sync.flush();
    expect(met).toBe(true);
    clock.advance(60_000);
    expect(await new ConversationContext(storage, { clock }).getVariable('c1', 'n')).toBe(1);
    expect(await remote.said('ana')).toEqual(['bye']);
  });

  it('moves each entry once where a mover dies half way, and where several move at once', async () => {
    class HalfWay extends MemoryStorage {
      failures = 2;
      override async commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions) {
        const isTidying = changes.some((change) => change.op === 'remove' && change.field === 'outgoing');
        if (isTidying && this.failures-- > 0) throw new Error('dies');
        return super.commit(key, changes, options);
      }
    }
    const half = new HalfWay({ clock });
    const syncs = Array.from({ length: 3 }, () => new ConversationSync({ storage: half, ...optionsOf() }));
    for (let i = 0; i < 6; i++) {
      await run(async () => {
        await syncs[i % 3]?.addMessage('ana', 'user', `a${i}`);
        await syncs[i % 3]?.addMessage('bob', 'user', `b${i}`);
      }, half);
    }
    for (let round = 0; round < 3; round++) await Promise.all(syncs.map((one) => one.flush()));
    expect(await remote.said('ana')).toEqual(Array.from({ length: 6 }, (_, i) => `a${i}`));
    expect(await remote.said('bob')).toEqual(Array.from({ length: 6 }, (_, i) => `b${i}`));
    for (const one of syncs) await one.close();
    await half.close();
  });

  it('waits for the commit on another storage too', async () => {
    const other = new MemoryStorage({ clock });
    await run(async () => sync.addMessage('ana', 'user', 'kept'), other);
    await run(async () => {
      await sync.addMessage('ana', 'user', 'lost');
      throw new Error('no');
    }, other).catch(() => {});
    await run(async () => {
      await run(async () => {
        await sync.addMessage('ana', 'user', 'lost inside');
        throw new Error('no');
      }, other).catch(() => {});
      await run(async () => sync.addMessage('ana', 'user', 'kept inside'), other);
    }, other);
    await sync.flush();
    expect(await remote.said('ana')).toEqual(['kept', 'kept inside']);
    await other.close();
  });
});

async function notes(on = storage): Promise<number> {
  let count = 0;
  for await (const _ of on.list({ space: 'sync-turns' })) count++;
  return count;
}

describe('decorators', () => {
  @skill({ id: 'shop' })
  class Shop {
    @stateful()
    @trackMessages()
    @autoSyncState()
    async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()) {
      await context.setVariable(contextId, 'cart', { items: [task.text], total: 5 });
      await context.setVariable(contextId, 'order_stage', 'cart');
      if (task.text === 'fail') throw new Error('no');
      if (task.text === 'ask') return inputRequired('which one?');
      return `bought ${task.text}`;
    }
  }
  @skill({ id: 'stream' })
  class Stream {
    @stateful()
    @trackMessages('assistant')
    @autoSyncState({ state: (_task, result) => ({ payment_method: String(result) }) })
    async *handle(_task: Task, _context: ConversationContext = injected()) {
      yield 'a';
      yield 'b';
      return 'ab!';
    }
  }
  @skill({ id: 'plain' })
  class Plain {
    @handler()
    @trackMessages('user', { sync: () => sync, user: (task) => task.userId })
    async handle(_task: Task) {
      return 'not tracked';
    }
  }

  let agent: Agent;
  let own: ConversationSync;
  beforeEach(async () => {
    agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Shop, Stream, Plain] });
    const { client, background } = optionsOf();
    own = createSync(agent, { client, background, env: {} });
  });
  afterEach(async () => {
    await own.close();
    await agent.close();
  });
  const say = (skillId: string, text: string, userId: string | undefined = 'ana') =>
    agent.handle({ id: text, contextId: 'c1', text, userId, tenantId: 'my-shop' }, { skill: skillId });

  it('track both sides and the state, as part of the turn', async () => {
    await say('shop', 'tea');
    await say('shop', 'fail').catch(() => {});
    await say('shop', 'ask');
    await own.flush();
    expect(await remote.of('ana')).toMatchObject([
      {
        subDomain: 'my-shop',
        localId: 'c1',
        currentIntent: 'order',
        context: {
          selectedItems: ['ask'],
          orderTotal: 5,
          previousMessages: [
            { role: 'user', content: 'tea' },
            { role: 'assistant', content: 'bought tea' },
            { role: 'user', content: 'ask' },
            { role: 'assistant', content: 'which one?' },
          ],
        },
      },
    ]);
  });

  it('track streams when they have ended', async () => {
    const chunks: unknown[] = [];
    await agent.handle(
      { id: '1', contextId: 'c1', text: 'go', userId: 'ana', tenantId: 'my-shop' },
      { skill: 'stream', onChunk: (chunk) => void chunks.push(chunk) },
    );
    expect(chunks).toEqual(['a', 'b']);
    await own.flush();
    expect(await remote.said('ana')).toEqual(['ab!']);
    expect((await remote.of('ana'))[0]).toMatchObject({ context: { paymentMethod: 'ab!' } });
  });

  it('work without a turn, and are silent without a user or a sync', async () => {
    expect((await say('plain', 'hello')).text).toBe('not tracked');
    await sync.flush();
    expect(await remote.said('ana')).toEqual(['hello']);
    await own.close();
    expect((await say('shop', 'x')).text).toBe('bought x');
    expect((await agent.handle({ id: '9', text: 'y' }, { skill: 'shop' })).text).toBe('bought y');
    await sync.flush();
    expect(await remote.said('ana')).toEqual(['hello']);
  });

  it.each([autoSyncState, trackMessages])('%o belongs below @stateful()', (decorator) => {
    expect(() => {
      class Wrong {
        @((decorator as typeof autoSyncState)())
        @stateful()
        async handle(_task: Task) {}
      }
      return Wrong;
    }).toThrowError(expect.objectContaining({ code: 'DECORATOR_MISUSE' }));
  });
});

describe('sync that is off', () => {
  it('does nothing, reads nothing, and needs nothing', async () => {
    const touched: string[] = [];
    const watched = new Proxy(storage, {
      get: (on, name) => {
        touched.push(String(name));
        return Reflect.get(on, name) as unknown;
      },
    });
    await using off = createSync({ storage: watched }, { env: { ENABLE_CONVERSATION_SYNC: 'false' } });
    expect(await off.addMessage('ana', 'user', 'x')).toEqual({ status: 'disabled' });
    expect(await off.syncState('ana', {})).toEqual({ status: 'disabled' });
    expect(await off.pull('ana')).toEqual({ status: 'disabled' });
    expect(await off.flush()).toEqual({ pending: 0 });
    expect(await off.status()).toMatchObject({ enabled: false, pending: 0 });
    await using conversation = await off.open('ana');
    expect(await conversation.addUserMessage('x')).toEqual({ status: 'disabled' });
    expect(touched).toEqual([]);
  });
});
