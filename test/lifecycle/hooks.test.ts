import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Agent } from '../../src/agent/agent.js';
import { createAgent } from '../../src/agent/create-agent.js';
import { createCaches } from '../../src/caches/index.js';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { AgentUpError } from '../../src/errors.js';
import type { Logger } from '../../src/logger.js';
import {
  type EndedEvent,
  type ErrorEvent,
  onConversationEnded,
  onConversationStarted,
  onError,
  type StartedEvent,
} from '../../src/skill/hooks.js';
import { injected } from '../../src/skill/injected.js';
import { skill } from '../../src/skill/skill.js';
import { stateful } from '../../src/skill/stateful.js';
import type { StatefulOptions } from '../../src/skill/stateful-options.js';
import type { Task } from '../../src/skill/task.js';
import { withState } from '../../src/skill/with-state.js';
import { ForwardingStorage } from '../../src/storage/forwarding-storage.js';
import type { RecordKey } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { ReadOptions } from '../../src/storage/state-storage.js';
import { onEachBackend } from '../caches/backends.js';
import { RecordingStorage } from '../support/recording-storage.js';
import { TestClock } from '../support/test-clock.js';

type Seen = { readonly hook: string; readonly event: StartedEvent | EndedEvent | ErrorEvent; readonly n?: unknown };

/** What the skills of one test saw, and what they are to do about it. */
interface Script {
  /** Tells the skills of one test from those of the others on the same storage. */
  readonly test: string;
  readonly seen: Seen[];
  fail: Partial<Record<'started' | 'ended' | 'handler' | 'error', string>>;
}

let tests = 0;

function scripted(): Script {
  return { test: `t${++tests}`, seen: [], fail: {} };
}

/** A skill with all hooks, on this storage. */
function greeter(script: Script, options: StatefulOptions, id = 'greeter') {
  const maybe = (what: keyof Script['fail']): void => {
    const message = script.fail[what];
    if (message !== undefined) throw new Error(message);
  };
  @skill({ id: `${id}-${script.test}` })
  class Greeter {
    @onConversationStarted()
    async begin(event: StartedEvent, context: ConversationContext, contextId: string): Promise<void> {
      script.seen.push({ hook: `${id} started`, event });
      await context.setVariable(contextId, 'begun', id);
      maybe('started');
    }

    @onConversationEnded()
    async finish(event: EndedEvent, context: ConversationContext, contextId: string): Promise<void> {
      const n = await context.getVariable(contextId, 'n');
      script.seen.push({ hook: `${id} ended`, event, n });
      maybe('ended');
      if (event.tenantId !== undefined) await context.caches.userCache.patch({ last: n });
    }

    @onError()
    async failed(event: ErrorEvent): Promise<void> {
      script.seen.push({ hook: `${id} error`, event });
      maybe('error');
    }

    @stateful(options)
    async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()) {
      const n = await context.incrementVariable(contextId, 'n');
      if (task.text === 'ttl') await context.setTtl(contextId, 1);
      maybe('handler');
      return `${n} ${await context.getVariable(contextId, 'begun')}`;
    }
  }
  return Greeter;
}

@skill({ id: 'plain' })
class Plain {
  @stateful()
  async handle(_task: Task, context: ConversationContext = injected(), contextId: string = injected()) {
    return context.incrementVariable(contextId, 'n');
  }
}

function collected(): Logger & { readonly lines: string[] } {
  const lines: string[] = [];
  const note = (...args: unknown[]) => void lines.push(String(args[0]));
  return { lines, debug: () => {}, info: () => {}, warn: note, error: note };
}

const task = (text = 'hi', contextId = 'c1', more: Partial<Task> = {}): Task => ({
  id: text,
  contextId,
  text,
  ...more,
});
const names = ({ seen }: Script) => seen.map(({ hook }) => hook);

onEachBackend('the lifecycle of a conversation', ({ storage, pass, clock }) => {
  let count = 0;
  const fresh = () => `c-${++count}`;
  const agentOf = (script: Script, options: StatefulOptions = {}, logger?: Logger): Promise<Agent> =>
    createAgent(
      { state: { backend: 'memory' } },
      {
        skills: [greeter(script, { storage: storage(), ttl: 2, ...options })],
        ...(clock && { clock }),
        ...(logger && { logger }),
      },
    );

  it('begins before its first message, once, and not again when the handler throws', async () => {
    const script = scripted();
    await using agent = await agentOf(script);
    const id = fresh();
    script.fail.handler = 'not yet';
    await expect(agent.handle(task('hi', id, { userId: 'ann' }))).rejects.toThrow('not yet');
    script.fail = {};
    expect(await agent.handle(task('hi', id, { userId: 'ann' }))).toMatchObject({ value: '1 greeter' });
    expect(await agent.handle(task('hi', id, { userId: 'ann' }))).toMatchObject({ value: '2 greeter' });
    expect(names(script)).toEqual(['greeter started', 'greeter error']);
    expect(script.seen[0]?.event).toMatchObject({ contextId: id, userId: 'ann', task: { text: 'hi' } });
    expect(script.seen[1]?.event).toMatchObject({ phase: 'handler', error: { message: 'not yet' } });
  });

  it.each(['serial', 'parallel'] as const)(
    'fails with its hook, leaves nothing, and begins with the next message, in %s turns',
    async (concurrency) => {
      const script = scripted();
      await using agent = await agentOf(script, { concurrency });
      const id = fresh();
      script.fail = { started: 'no', error: 'cannot tell' };
      await expect(agent.handle(task('hi', id))).rejects.toThrow('no');
      expect(script.seen.at(-1)?.event).toMatchObject({ phase: 'started', error: { message: 'no' } });
      expect(await storage().read({ space: 'contexts', scope: [], id })).toBeUndefined();
      script.fail = {};
      expect(await agent.handle(task('hi', id))).toMatchObject({ value: '1 greeter' });
    },
  );

  it('begins once where many first messages come at once, in parallel turns too', async () => {
    for (const concurrency of ['serial', 'parallel'] as const) {
      const script = scripted();
      await using agent = await agentOf(script, { concurrency });
      const id = fresh();
      await Promise.all(Array.from({ length: 8 }, () => agent.handle(task('hi', id))));
      expect(names(script)).toEqual(['greeter started']);
      expect(await agent.handle(task('hi', id))).toMatchObject({ value: '9 greeter' });
    }
  });

  it('is started and ended by hand, with the state still there in the hook', async () => {
    const script = scripted();
    await using agent = await agentOf(script);
    const id = fresh();
    const who = { userId: 'ann', tenantId: `t-${id}` };
    expect(await agent.conversations.start(id, { ...who, metadata: { channel: 'web' } })).toBe(true);
    expect(await agent.conversations.start(id, { ...who, metadata: { channel: 'late' } })).toBe(false);
    await agent.handle(task('hi', id, who));
    const memory = await agent.conversation(task('hi', id, who));
    expect(await memory?.getMetadata('channel')).toBe('web');
    for (const ofEve of [agent.conversations.start, agent.conversations.end]) {
      await expect(ofEve.call(agent.conversations, id, { ...who, userId: 'eve' })).rejects.toMatchObject({
        code: 'CONTEXT_FORBIDDEN',
      });
    }
    expect(await agent.conversations.end(id, { ...who, reason: 'goodbye' })).toBe(true);
    expect(await agent.conversations.end(id, who)).toBe(false);
    expect(names(script)).toEqual(['greeter started', 'greeter ended']);
    expect(script.seen[0]?.event).toMatchObject({ metadata: { channel: 'web' }, ...who });
    expect(script.seen[1]).toMatchObject({
      n: 1,
      event: { reason: 'ended', detail: 'goodbye', contextId: id, ...who },
    });
    expect(await memory?.getVariables()).toEqual({});
    expect(await createCaches({ storage: storage(), ...who }).userCache.get()).toEqual({ last: 1 });
  });

  it('ends when its time is over, once for all who look, and not before', async () => {
    const script = scripted();
    await using agent = await agentOf(script);
    await using other = await agentOf(script);
    const id = fresh();
    await agent.handle(task('hi', id, { userId: 'ann' }));
    expect(await agent.conversations.runDue()).toBe(0);
    await pass(1_200);
    await agent.handle(task('again', id, { userId: 'ann' }));
    await pass(1_200);
    // Written to since: looked at again later, without a write per turn.
    expect(await agent.conversations.runDue()).toBe(0);
    expect(names(script)).toEqual(['greeter started']);
    await pass(1_000);
    const ended = await Promise.all([agent, other].map(({ conversations }) => conversations.runDue()));
    expect(ended.reduce((sum, n) => sum + n)).toBe(1);
    expect(script.seen.slice(1)).toMatchObject([
      { hook: 'greeter ended', n: 2, event: { reason: 'expired', userId: 'ann', contextId: id } },
    ]);
    expect(await storage().read({ space: 'contexts', scope: [], id })).toBeUndefined();
    expect(await agent.conversations.runDue()).toBe(0);
  });

  it('that is over is not handed to the next message: it ends, and another begins', async () => {
    const script = scripted();
    const logger = collected();
    await using agent = await agentOf(script, {}, logger);
    const id = fresh();
    await agent.handle(task('one', id, { userId: 'ann' }));
    await pass(2_100);
    expect(await agent.handle(task('two', id, { userId: 'bob' }))).toMatchObject({ value: '1 greeter' });
    expect(names(script)).toEqual(['greeter started', 'greeter ended', 'greeter started']);
    expect(script.seen[1]?.event).toMatchObject({ reason: 'expired', userId: 'ann' });
    await pass(2_100);
    script.fail = { ended: 'crm down' };
    expect(await agent.handle(task('three', id, { userId: 'ann' }))).toMatchObject({ value: '1 greeter' });
    expect(logger.lines).toHaveLength(1);
  });

  it('has its own time to live where setTtl gave it one, and tells it without the grace', async () => {
    const script = scripted();
    await using agent = await agentOf(script, { ttl: 3600 });
    const id = fresh();
    await agent.handle(task('hi', id));
    const memory = await agent.conversation(task('hi', id));
    expect(await memory?.getTtl()).toBe(3600);
    await agent.handle(task('ttl', id));
    expect(await memory?.getTtl()).toBe(1);
    await pass(1_100);
    expect(await agent.conversations.runDue()).toBe(1);
    expect(script.seen.at(-1)).toMatchObject({ hook: 'greeter ended', n: 2 });
  });

  it('is tried again when its hook fails, later and later, and goes anyway in the end', async () => {
    if (!clock) return;
    const script = scripted();
    const logger = collected();
    await using agent = await agentOf(script, {}, logger);
    const id = fresh();
    await agent.handle(task('hi', id));
    await pass(2_000);
    script.fail = { ended: 'crm down' };
    const tries = () => names(script).filter((name) => name === 'greeter ended').length;
    for (const [index, pause] of [0, 30, 60, 120, 240].entries()) {
      await pass(Math.max(0, pause * 1000 - 1));
      if (index > 0) expect(await agent.conversations.runDue()).toBe(0);
      expect(tries()).toBe(index);
      await pass(1);
      expect(await agent.conversations.runDue()).toBe(0);
      expect(tries()).toBe(index + 1);
    }
    await pass(480_000);
    expect(await agent.conversations.runDue()).toBe(1);
    expect(tries()).toBe(6);
    expect(logger.lines).toHaveLength(6);
    expect(script.seen.at(-1)?.event).toMatchObject({ phase: 'ended' });
    expect(await storage().read({ space: 'contexts', scope: [], id })).toBeUndefined();
  });

  it('that was ended stays over while its hook fails', async () => {
    if (!clock) return;
    const script = scripted();
    await using agent = await agentOf(script);
    const id = fresh();
    await agent.handle(task('hi', id));
    script.fail = { ended: 'crm down' };
    expect(await agent.conversations.end(id, { reason: 'logout' })).toBe(true);
    const listed: string[] = [];
    for await (const { contextId } of agent.conversations.list({ skill: `greeter-${script.test}` }))
      listed.push(contextId);
    expect(listed).not.toContain(id);
    script.fail = {};
    await pass(30_000);
    expect(await agent.conversations.runDue()).toBe(1);
    const ended = script.seen.filter(({ hook }) => hook === 'greeter ended').map(({ event }) => event);
    expect(ended).toMatchObject([{ detail: 'logout' }, { detail: 'logout', reason: 'ended' }]);
  });

  it('is listed until it is over, by user and tenant, with its own expiry', async () => {
    const script = scripted();
    await using agent = await agentOf(script);
    const id = fresh();
    const who = { userId: 'ann', tenantId: `t-${id}` };
    await agent.handle(task('hi', id, who));
    await agent.handle(task('hi', `${id}-bob`, { ...who, userId: 'bob' }));
    const list = async (query: object) => {
      const found: { contextId: string; createdAt: string; expiresAt?: string }[] = [];
      for await (const info of agent.conversations.list({ skill: `greeter-${script.test}`, ...query }))
        found.push(info);
      return found;
    };
    const [mine] = await list(who);
    expect(mine).toMatchObject({ contextId: id, userId: 'ann' });
    expect(Date.parse(mine?.expiresAt ?? '') - Date.parse(mine?.createdAt ?? '')).toBeLessThan(2_500);
    expect(await list({ tenantId: who.tenantId })).toHaveLength(2);
    expect(await list({ tenantId: 'nobody' })).toEqual([]);
    await pass(2_100);
    expect(await list({ tenantId: who.tenantId })).toEqual([]);
  });

  it('is looked after by a watch, until the agent is closed', async () => {
    const script = scripted();
    const agent = await agentOf(script);
    const id = fresh();
    await agent.handle(task('hi', id));
    await pass(2_100);
    agent.conversations.watch({ everyMs: 20 });
    await expect.poll(() => names(script)).toEqual(['greeter started', 'greeter ended']);
    await agent.close();
    await expect(agent.conversations.runDue()).rejects.toMatchObject({ code: 'AGENT_CLOSED' });
  });
});

describe('hooks of several skills', () => {
  it('each begin with their first message; all of them hear of the end, also where another skill meets it', async () => {
    const clock = new TestClock();
    const storage = new MemoryStorage({ clock });
    const script = scripted();
    const options = { storage, ttl: 60 };
    @skill({ id: 'quiet' })
    class Quiet {
      @stateful(options)
      async handle(_task: Task, context: ConversationContext = injected(), contextId: string = injected()) {
        return context.incrementVariable(contextId, 'n');
      }
    }
    const skills = [greeter(script, options, 'a'), greeter(script, options, 'b'), Quiet];
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills, clock });
    for (const id of ['a', 'b', 'quiet', 'a']) {
      await agent.handle(task(), { skill: id === 'quiet' ? id : `${id}-${script.test}` });
    }
    expect(names(script)).toEqual(['a started', 'b started']);
    clock.advance(60_000);
    expect(await agent.handle(task(), { skill: 'quiet' })).toMatchObject({ value: 1 });
    expect(names(script).slice(2)).toEqual(['a ended', 'b ended']);
    expect(script.seen[2]).toMatchObject({ n: 4 });
  });

  it('cost one commit at the start and one for the due entry, and later turns nothing', async () => {
    const storage = new RecordingStorage(new MemoryStorage());
    const script = scripted();
    const skills = [greeter(script, { storage, ttl: 60 })];
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills });
    const cost = async () => {
      storage.calls.length = 0;
      await agent.handle(task());
      return storage.calls.map(({ name }) => name);
    };
    expect(await cost()).toEqual(['begin', 'commit', 'commit', 'commit']);
    expect(await cost()).toEqual(['begin', 'commit']);
  });

  it('take over conversations that were there before them, with the time to live that those have', async () => {
    const clock = new TestClock();
    const storage = new MemoryStorage({ clock });
    const script = scripted();
    const before = new ConversationContext(storage, { clock });
    for (const id of ['forever', 'short']) await before.setVariable(id, 'n', 5);
    await before.setTtl('short', 10);
    const skills = [greeter(script, { storage, ttl: 60 })];
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills, clock });
    for (const id of ['forever', 'short'])
      expect(await agent.handle(task('hi', id))).toMatchObject({ value: '6 greeter' });
    clock.advance(10_000);
    await agent.conversations.runDue();
    clock.advance(50_000);
    await agent.conversations.runDue();
    const ended = script.seen.filter(({ hook }) => hook === 'greeter ended').map(({ event }) => event.contextId);
    expect(ended).toEqual(['short', 'forever']);
  });

  it('run inside a parallel turn of another skill', async () => {
    const storage = new MemoryStorage();
    const script = scripted();
    const Greeter = greeter(script, { storage });
    const outer = withState(
      async function outer(given) {
        return new Greeter().handle(given);
      },
      { storage, concurrency: 'parallel' },
    );
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [outer] });
    expect(await agent.handle(task())).toMatchObject({ value: '1 greeter' });
    expect(names(script)).toEqual(['greeter started']);
  });

  it('are part of the outer turn where their skill is called from another: half of that is not written down', async () => {
    const storage = new MemoryStorage();
    const script = scripted();
    const Greeter = greeter(script, { storage });
    const outer = withState(
      async function outer(given, context, id) {
        await context.setVariable(id, 'half', true);
        const reply = await new Greeter().handle(given);
        if (given.text === 'fail') throw new Error('after all');
        return reply;
      },
      { storage },
    );
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [outer] });
    await expect(agent.handle(task('fail'))).rejects.toThrow('after all');
    expect(await new ConversationContext(storage).getVariables('c1')).toEqual({});
    expect(await agent.handle(task('go'))).toMatchObject({ value: '1 greeter' });
    expect(names(script)).toEqual(['greeter started', 'greeter started']);
  });

  it('end nothing in the middle of a turn whose conversation runs out while it lasts', async () => {
    const clock = new TestClock();
    const storage = new MemoryStorage({ clock });
    const script = scripted();
    const Greeter = greeter(script, { storage, ttl: 2 });
    const outer = withState(
      async function outer(given) {
        if (given.text === 'two') clock.advance(2_100);
        return new Greeter().handle(given);
      },
      { storage, ttl: 2 },
    );
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [outer], clock });
    await agent.handle(task('one'));
    expect(await agent.handle(task('two'))).toMatchObject({ value: '2 greeter' });
    expect(names(script)).toEqual(['greeter started']);
  });

  it('run not, and the handler does without memory, where a parallel turn cannot begin its conversation', async () => {
    const storage = new (class extends ForwardingStorage {
      override async begin(): Promise<never> {
        throw new AgentUpError('STORAGE_UNAVAILABLE', 'down');
      }
    })(new MemoryStorage());
    const script = scripted();
    const Greeter = greeter(script, { storage, concurrency: 'parallel', onUnavailable: 'degrade' });
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Greeter] });
    expect(await agent.handle(task())).toMatchObject({ value: '1 undefined' });
    expect(names(script)).toEqual([]);
  });

  it('outlive no time to live of conversations without hooks', async () => {
    const clock = new TestClock();
    const script = scripted();
    const skills = [Plain, greeter(script, {})];
    await using agent = await createAgent({ state: { backend: 'memory', ttl: 60 } }, { skills, clock });
    await agent.handle(task('hi', 'p'), { skill: 'plain' });
    clock.advance(60_000);
    expect(await agent.context.getVariables('p')).toEqual({});
  });
});

it('a conversation is ended though the hook for another hangs, or another cannot be looked at', async () => {
  const clock = new TestClock();
  const damaged = new (class extends ForwardingStorage {
    override async read(key: RecordKey, options?: ReadOptions) {
      if (key.id === 'damaged') throw new AgentUpError('RECORD_CORRUPT', 'this one');
      return this.inner.read(key, options);
    }
  })(new MemoryStorage({ clock }));
  const ended: string[] = [];
  let release: () => void = () => {};
  @skill({ id: 'patient' })
  class Patient {
    @onConversationEnded()
    async finish({ contextId }: EndedEvent): Promise<void> {
      if (contextId === 'hangs') await new Promise<void>((resolve) => void (release = resolve));
      ended.push(contextId);
    }

    @stateful({ storage: damaged, ttl: 2 })
    async handle() {}
  }
  const logger = collected();
  await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Patient], clock, logger });
  for (const id of ['damaged', 'hangs', 'last']) {
    await agent.handle(task('hi', id));
    clock.advance(1);
  }
  clock.advance(2_100);
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const round = agent.conversations.runDue();
  await vi.advanceTimersByTimeAsync(59_000);
  expect(ended).toEqual([]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await round).toBe(1);
  expect(ended).toEqual(['last']);
  expect(logger.lines).toEqual([expect.stringContaining('this one')]);
  vi.useRealTimers();
  // Once more: who is at it is not disturbed.
  expect(await agent.conversations.runDue()).toBe(0);
  release();
  await expect.poll(() => ended).toEqual(['last', 'hangs']);
});

it('a conversation that is written to just when its end is looked at ends later, with its hook', async () => {
  const clock = new TestClock();
  let meanwhile: (() => Promise<void>) | undefined;
  const storage = new (class extends ForwardingStorage {
    override async read(key: RecordKey, options?: ReadOptions) {
      const record = await this.inner.read(key, options);
      const write = key.id === 'c' ? meanwhile : undefined;
      if (write) meanwhile = undefined;
      await write?.();
      return record;
    }
  })(new MemoryStorage({ clock }));
  const script = scripted();
  const skills = [greeter(script, { storage, ttl: 2 })];
  await using agent = await createAgent({ state: { backend: 'memory' } }, { skills, clock });
  await agent.handle(task('hi', 'c'));
  clock.advance(2_100);
  const outside = new ConversationContext(storage, { clock, ttl: 2 });
  meanwhile = () => outside.setVariable('c', 'late', true);
  expect(await agent.conversations.runDue()).toBe(0);
  expect(meanwhile).toBeUndefined();
  clock.advance(2_100);
  await agent.conversations.runDue();
  expect(names(script)).toEqual(['greeter started', 'greeter ended']);
});
