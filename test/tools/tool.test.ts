import { setTimeout as delay, setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createAgent } from '../../src/agent/create-agent.js';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { AgentUpError } from '../../src/errors.js';
import {
  type ConversationEvent,
  type ErrorEvent,
  onConversationStarted,
  onError,
  onToolCalled,
  onToolCompleted,
  type ToolCalledEvent,
  type ToolCompletedEvent,
} from '../../src/skill/hooks.js';
import { injected } from '../../src/skill/injected.js';
import { skill } from '../../src/skill/skill.js';
import { stateful } from '../../src/skill/stateful.js';
import type { Task } from '../../src/skill/task.js';
import { tool } from '../../src/skill/tool.js';
import { toolsOf } from '../../src/skill/tool-box.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { RecordingStorage } from '../support/recording-storage.js';

const Item = z.object({ product: z.string().min(1), quantity: z.coerce.number().int().positive().default(1) });
type Item = z.output<typeof Item>;

let storage: RecordingStorage;
let told: { hook: string; event: ConversationEvent }[];
let late: Promise<unknown> | undefined;
beforeEach(() => {
  storage = new RecordingStorage(new MemoryStorage());
  told = [];
  late = undefined;
});

/** What each test calls: a cart on the storage of the test. */
const cart = () => {
  const other = new MemoryStorage();
  @skill({ id: 'cart' })
  class Cart {
    readonly greeting = 'here';

    @stateful({ storage })
    async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()) {
      await context.setVariable(contextId, 'said', task.text);
      const [name = '', args = '{}'] = task.text.split(' ', 2);
      if (name === 'direct') return this.add({ product: 'tea', quantity: 2 });
      return toolsOf(this).call(name, JSON.parse(args));
    }

    @tool({ description: 'Adds to the cart', input: Item })
    async add(
      { product, quantity }: Item,
      context: ConversationContext = injected(),
      contextId: string = injected(),
    ): Promise<object> {
      await context.appendToVariable(contextId, 'cart', { product, quantity });
      if (product === 'bomb') throw new RangeError('too heavy');
      const said = await context.getVariable(contextId, 'said', null);
      return { greeting: this.greeting, said, user: context.scope.userId ?? null };
    }

    @tool({ description: 'Takes its time', name: 'slow_tool', timeout: 0.05 })
    async slow(
      { detached }: { detached?: boolean },
      context: ConversationContext = injected(),
      contextId: string = injected(),
      signal: AbortSignal = injected(),
    ): Promise<string> {
      await context.setVariable(contextId, 'slow', true);
      late = (async () => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        const again = await context.setVariable(contextId, 'slow', 'late').catch((error) => error.code);
        const joined = await this.add({ product: 'late', quantity: 1 }).catch((error) => error.code);
        const turn = await this.handle({ id: 'x', contextId, text: 'direct' }).catch((error) => error.code);
        return [signal.reason.code ?? signal.reason.name, again, joined, turn];
      })();
      if (detached) return 'done';
      await late;
      await delay(10_000);
      return 'never';
    }

    @tool({ description: 'Counts for a user', scope: 'user', storage: other })
    async count(_args: object, context: ConversationContext = injected(), contextId: string = injected()) {
      return `${contextId} ${await context.incrementVariable(contextId, 'n')}`;
    }

    @tool({ description: 'By hand', inputSchema: { type: 'object', properties: { a: { type: 'number' } } } })
    async raw(args: { a?: number }) {
      return args.a ?? null;
    }
  }
  return Cart;
};

const agentOf = () => createAgent({ state: { backend: 'memory' } }, { skills: [cart()] });
const variables = (contextId = 'c1') => new ConversationContext(storage).getVariables(contextId);
const task = (text: string): Task => ({ id: 't', contextId: 'c1', text, userId: 'ann' });

describe('a tool', () => {
  it('runs in the turn it is called from: its state, its instance, its commit', async () => {
    await using agent = await agentOf();
    const { value } = await agent.handle(task('add {"product":"tea"}'));
    expect(value).toEqual({ greeting: 'here', said: 'add {"product":"tea"}', user: 'ann' });
    expect(await variables()).toMatchObject({ cart: [{ product: 'tea', quantity: 1 }] });
    expect(storage.calls.filter(({ name }) => name === 'begin' || name === 'commit')).toHaveLength(2);
    expect((await agent.handle(task('direct'))).value).toMatchObject({ said: 'direct' });
    expect(await variables()).toMatchObject({ cart: [{ quantity: 1 }, { product: 'tea', quantity: 2 }] });
  });

  it('called from outside runs in a turn of its own, on the conversation that is named', async () => {
    await using agent = await agentOf();
    await agent.handle(task('add {"product":"tea"}'));
    expect(await agent.tools.call('add', { product: 'milk' }, { contextId: 'c1', userId: 'ann' })).toMatchObject({
      said: 'add {"product":"tea"}',
    });
    expect(await variables()).toMatchObject({ cart: [{ product: 'tea' }, { product: 'milk' }] });
    const eve = agent.tools.call('add', { product: 'milk' }, { contextId: 'c1', userId: 'eve' });
    await expect(eve).rejects.toMatchObject({ code: 'CONTEXT_FORBIDDEN' });
    await agent.tools.call('add', { product: 'milk' }, { contextId: 'c1', tenantId: 'hotel' });
    expect((await variables())['cart']).toHaveLength(2);
    await expect(agent.tools.call('add', { product: 'milk' })).rejects.toMatchObject({ code: 'CONTEXT_ID_MISSING' });
  });

  it('as a method takes a context of its caller, as tests give it', async () => {
    const context = new ConversationContext(new MemoryStorage());
    const Cart = cart();
    const { add } = new Cart() as { add: (...args: unknown[]) => Promise<unknown> };
    await add.call(new Cart(), { product: 'tea' }, context, 'x');
    expect(await context.getVariable('x', 'cart')).toEqual([{ product: 'tea', quantity: 1 }]);
    await expect(add.call(new Cart(), { product: 'bomb' }, context, 'x')).rejects.toBeInstanceOf(RangeError);
  });

  it('keeps its state elsewhere where it says so', async () => {
    await using agent = await agentOf();
    expect(await agent.tools.call('count', {}, { userId: 'ann' })).toBe('ann 1');
    expect((await agent.handle(task('count'))).value).toBe('ann 2');
    await expect(agent.tools.call('count')).rejects.toMatchObject({ code: 'CONTEXT_ID_MISSING' });
  });

  it('is described to a model', async () => {
    await using agent = await agentOf();
    const tools = agent.tools.list();
    expect(tools.map(({ name, skillId }) => `${skillId} ${name}`)).toEqual([
      'cart add',
      'cart slow_tool',
      'cart count',
      'cart raw',
    ]);
    expect(tools[0]).toEqual({
      name: 'add',
      description: 'Adds to the cart',
      skillId: 'cart',
      inputSchema: {
        type: 'object',
        properties: { product: { type: 'string', minLength: 1 }, quantity: expect.objectContaining({ default: 1 }) },
        required: ['product'],
      },
    });
    expect(agent.tools.toOpenAi()[3]).toEqual({
      type: 'function',
      function: {
        name: 'raw',
        description: 'By hand',
        parameters: { type: 'object', properties: { a: { type: 'number' } } },
      },
    });
  });

  it('that is not there, and arguments that do not fit, are errors before anything happens', async () => {
    await using agent = await agentOf();
    const call = (name: string, args: unknown) => agent.tools.call(name, args, { contextId: 'c1' });
    await expect(call('ad', {})).rejects.toMatchObject({ code: 'TOOL_NOT_FOUND', details: { tool: 'ad' } });
    await expect(call('toString', {})).rejects.toMatchObject({ code: 'TOOL_NOT_FOUND' });
    await expect(call('add', { product: '', quantity: 'x' })).rejects.toMatchObject({
      code: 'TOOL_INPUT_INVALID',
      details: { tool: 'add', issues: [{ path: ['product'] }, { path: ['quantity'] }] },
    });
    for (const args of [[], 'x', null]) {
      await expect(call('raw', args)).rejects.toMatchObject({ code: 'TOOL_INPUT_INVALID' });
    }
    expect(storage.calls).toEqual([]);
  });

  it('that throws leaves nothing; its caller goes on', async () => {
    await using agent = await agentOf();
    const failed = (await agent.tools
      .call('add', { product: 'bomb' }, { contextId: 'c1' })
      .catch((error) => error)) as Error;
    expect(failed).toMatchObject({ code: 'TOOL_FAILED', details: { tool: 'add', skillId: 'cart', contextId: 'c1' } });
    expect(failed.cause).toBeInstanceOf(RangeError);
    expect(await variables()).toEqual({});
    await expect(agent.handle(task('add {"product":"bomb"}'))).rejects.toMatchObject({ code: 'TOOL_FAILED' });
  });

  it('is given up when its time is over: it hears of it, and nothing of it is kept, in no turn', async () => {
    await using agent = await agentOf();
    await expect(agent.tools.call('slow_tool', {}, { contextId: 'c1' })).rejects.toMatchObject({
      code: 'TOOL_TIMEOUT',
    });
    expect(await late).toEqual(['TOOL_TIMEOUT', 'TURN_ENDED', 'TURN_ENDED', 'TURN_ENDED']);
    expect(await variables()).toEqual({});
  });

  it('given up inside a turn, it does not become part of that turn later', async () => {
    const Cart = cart();
    class Patient extends Cart {
      @stateful({ storage })
      override async handle(task: Task, context: ConversationContext = injected(), id: string = injected()) {
        if (task.text === 'direct') return super.handle(task, context, id);
        const failed = await toolsOf(this)
          .call('slow_tool', {})
          .catch((error) => error.code);
        await late;
        await context.setVariable(id, 'after', failed);
        return {};
      }
    }
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Patient] });
    await agent.handle(task('go'));
    expect(await variables()).toEqual({ after: 'TOOL_TIMEOUT' });
    expect(await late).toEqual(['TOOL_TIMEOUT', 'TURN_ENDED', 'TURN_ENDED', 'TURN_ENDED']);
  });

  it('is given up by the signal of its caller', async () => {
    await using agent = await agentOf();
    const aborter = new AbortController();
    const calling = agent.tools.call('slow_tool', {}, { contextId: 'c1', signal: aborter.signal });
    aborter.abort();
    await expect(calling).rejects.toMatchObject({ code: 'TOOL_FAILED', cause: { name: 'AbortError' } });
    expect(await variables()).toEqual({});
  });

  it('called from a turn by name is of its user, tenant and scope, on whatever conversation, unless told otherwise', async () => {
    let whose = {};
    let end: () => void = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    @skill({ id: 'caller' })
    class Caller {
      @stateful({ storage })
      async handle({ text }: Task): Promise<unknown> {
        const call = (on: object) => agent.tools.call('who', {}, on);
        if (text !== 'later') return call(whose);
        late = ended.then(() => Promise.allSettled([call({}), call({ contextId: 'c9' })]));
        return '';
      }

      @tool({ description: 'Says who calls' })
      async who(_args: object, context: ConversationContext = injected(), contextId: string = injected()) {
        await context.incrementVariable(contextId, 'n');
        const { kind, tenantId, userId } = context.scope;
        return [contextId, kind, tenantId, userId].join();
      }
    }
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Caller] });
    const said = async (contextId: string, more: Partial<Task> = {}, scope?: 'session') =>
      (await agent.handle({ id: 't', contextId, text: '', tenantId: 'shop', userId: 'ana', ...more }, { scope })).value;
    expect(await said('c1')).toBe('c1,conversation,shop,ana');
    whose = { contextId: 'c2' };
    expect(await said('c1')).toBe('c2,conversation,shop,ana');
    expect(await said('c1', {}, 'session')).toBe('c2,session,shop,ana');
    whose = { tenantId: 'bank', contextId: 'c1', scope: 'conversation' };
    expect(await said('c1', {}, 'session')).toBe('c1,conversation,bank,ana');
    for (const of of [{ userId: 'ben' }, { userId: 'ben', contextId: 'c2' }]) {
      whose = of;
      await expect(said('c1')).rejects.toMatchObject({ code: 'CONTEXT_FORBIDDEN' });
    }
    await said('c1', { text: 'later' });
    end();
    expect(await late).toMatchObject([{ reason: { code: 'TURN_ENDED' } }, { value: 'c9,conversation,shop,ana' }]);
  });

  it('is given up while a hook before it hangs: by its time, or by the signal of its caller', async () => {
    let release: () => void = () => {};
    const hangs = new Promise<void>((resolve) => {
      release = resolve;
    });
    @skill({ id: 'hooked' })
    class Hooked {
      @stateful({ storage })
      async handle() {}

      @onToolCalled()
      async before() {
        await hangs;
      }

      @tool({ description: 'Never called', timeout: 0.05 })
      async quick() {
        late = Promise.resolve();
      }

      @tool({ description: 'Never called' })
      async patient() {
        late = Promise.resolve();
      }
    }
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Hooked] });
    await expect(agent.tools.call('quick', {}, { contextId: 'c1' })).rejects.toMatchObject({ code: 'TOOL_TIMEOUT' });
    const aborter = new AbortController();
    const calling = agent.tools.call('patient', {}, { contextId: 'c1', signal: aborter.signal });
    await setImmediate();
    aborter.abort();
    await expect(calling).rejects.toMatchObject({ code: 'TOOL_FAILED', cause: { name: 'AbortError' } });
    release();
    await setImmediate();
    expect(late).toBeUndefined();
  });

  it('given up by a signal while it waits for a turn, it is never called', async () => {
    const called: string[] = [];
    const aborter = new AbortController();
    let release = (): void => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    @skill({ id: 'waiting' })
    class Waiting {
      @stateful({ storage })
      async handle(_task: Task): Promise<void> {}

      @tool({ description: 'Notes' })
      async note({ name }: { name: string }) {
        called.push(name);
        if (name === 'first') await released;
      }
    }
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Waiting] });
    const note = (name: string, signal?: AbortSignal) =>
      agent.tools.call('note', { name }, { contextId: 'c1', ...(signal && { signal }) });
    const first = note('first');
    await expect.poll(() => called).toEqual(['first']);
    const second = note('second', aborter.signal);
    await setImmediate();
    aborter.abort();
    await expect(second).rejects.toMatchObject({ code: 'TOOL_FAILED', cause: { name: 'AbortError' } });
    release();
    await Promise.all([first, note('third')]);
    expect(called).toEqual(['first', 'third']);
  });

  it('given up by a signal inside a turn, it does not become part of that turn later', async () => {
    const aborter = new AbortController();
    @skill({ id: 'outer' })
    class Outer {
      @stateful({ storage })
      async handle(_task: Task): Promise<unknown> {
        const calling = agent.tools.call('stubborn', {}, { signal: aborter.signal });
        await setImmediate();
        aborter.abort();
        const code = await calling.catch((error) => error.code);
        return [code, await late];
      }

      @tool({ description: 'Goes on' })
      async stubborn(_args: object, context: ConversationContext = injected(), contextId: string = injected()) {
        late = new Promise<void>((resolve) => aborter.signal.addEventListener('abort', () => resolve())).then(() =>
          context.setVariable(contextId, 'late', true).catch((error) => error.code),
        );
        await late;
        await new Promise(() => {});
      }
    }
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Outer] });
    expect((await agent.handle({ id: 't', contextId: 'c1', text: '' })).value).toEqual(['TOOL_FAILED', 'TURN_ENDED']);
    expect(await variables()).toEqual({});
  });

  it('has a name of its own in the agent', async () => {
    @skill({ id: 'second' })
    class Second {
      @stateful()
      async handle(_task: Task) {
        return '';
      }

      @tool({ description: 'Another' })
      async add() {
        return '';
      }
    }
    await expect(createAgent({ state: { backend: 'memory' } }, { skills: [cart(), Second] })).rejects.toMatchObject({
      code: 'SKILL_LOAD_FAILED',
      details: { tool: 'add', skillId: 'second' },
    });
  });

  it('is refused where a model could not be told of it', async () => {
    const make = (input: z.ZodType) => {
      @skill({ id: 'dated' })
      class Dated {
        @stateful()
        async handle(_task: Task) {
          return '';
        }

        @tool({ description: 'On a day', input })
        async day() {
          return '';
        }
      }
      return createAgent({ state: { backend: 'memory' } }, { skills: [Dated] });
    };
    await expect(make(z.object({ day: z.date() }))).rejects.toMatchObject({ code: 'SKILL_LOAD_FAILED' });
    await expect(make(z.string())).rejects.toMatchObject({ code: 'SKILL_LOAD_FAILED' });
    // biome-ignore lint/suspicious/noExplicitAny: the mistakes do not compile otherwise
    const anyhow = tool as any;
    for (const wrong of [{}, { description: ' ' }, { description: 'x', timeout: 0 }, { description: 'x', ttl: 0 }]) {
      expect(() => anyhow(wrong)).toThrow(expect.objectContaining({ name: 'AgentUpError' }));
    }
    for (const wrong of [{ scope: 'conversaton' }, { input_schema: {} }, { dedupe: false }]) {
      const [argument] = Object.keys(wrong);
      const details = expect.objectContaining({ argument, fix: expect.any(String) });
      expect(() => anyhow({ description: 'x', ...wrong })).toThrow(expect.objectContaining({ details }));
    }
    expect(() => {
      class Odd {
        @tool({ description: 'x', name: 'no blanks' })
        async method() {
          return '';
        }
      }
      return Odd;
    }).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });
});

describe('the hooks of tools', () => {
  let guard: string | undefined;
  let broken: boolean;
  beforeEach(() => {
    guard = undefined;
    broken = false;
  });
  const note = (hook: string, event: ConversationEvent) => void told.push({ hook, event });

  const watched = () => {
    @skill({ id: 'watched' })
    class Watched {
      @stateful({ storage })
      async handle(_task: Task) {
        return this.double({ n: 4 });
      }

      @tool({ description: 'Doubles', input: z.object({ n: z.number() }) })
      async double({ n }: { n: number }, context: ConversationContext = injected(), id: string = injected()) {
        await context.setVariable(id, 'doubled', n);
        if (n === 13) throw new Error('unlucky');
        return n * 2;
      }

      @onConversationStarted()
      begin(event: ConversationEvent) {
        note('started', event);
      }

      @onToolCalled()
      async before(event: ToolCalledEvent, context: ConversationContext, contextId: string) {
        note('called', event);
        await context.incrementVariable(contextId, 'calls');
        if (guard !== undefined) throw new Error(guard);
      }

      @onToolCompleted()
      async after(event: ToolCompletedEvent, context: ConversationContext, contextId: string) {
        note('completed', event);
        await context.incrementVariable(contextId, 'completions');
        if (broken) throw new Error('audit is down');
      }

      @onError()
      async failed(event: ErrorEvent, context: ConversationContext, contextId: string) {
        note(`error ${event.phase}`, event);
        await context.setVariable(contextId, 'failed', event.phase);
      }
    }
    return createAgent({ state: { backend: 'memory' } }, { skills: [Watched] });
  };
  const hooks = () => told.map(({ hook }) => hook);
  afterEach(() => {
    expect(told.every(({ event }) => event.contextId === 'c1')).toBe(true);
  });

  it('see arguments, result and how long it took, in the turn of the tool', async () => {
    await using agent = await watched();
    expect(await agent.tools.call('double', { n: 2 }, { contextId: 'c1', userId: 'ann' })).toBe(4);
    expect(hooks()).toEqual(['started', 'called', 'completed']);
    expect(told[1]?.event).toEqual({ tool: 'double', args: { n: 2 }, contextId: 'c1', userId: 'ann' });
    expect(told[2]?.event).toMatchObject({ result: 4, durationMs: expect.any(Number) });
    expect(await variables()).toEqual({ doubled: 2, calls: 1, completions: 1 });
    expect((await agent.handle(task('x'))).value).toBe(8);
    expect(await variables()).toEqual({ doubled: 4, calls: 2, completions: 2 });
  });

  it('hear of what failed, once, and write outside its turn', async () => {
    await using agent = await watched();
    await expect(agent.tools.call('double', { n: 13 }, { contextId: 'c1' })).rejects.toMatchObject({
      code: 'TOOL_FAILED',
    });
    expect(hooks()).toEqual(['started', 'called', 'error tool', 'completed']);
    expect(told[3]?.event).toMatchObject({ error: { message: 'unlucky' } });
    expect(await variables()).toEqual({ completions: 1, failed: 'tool' });
  });

  it('may refuse the call', async () => {
    await using agent = await watched();
    guard = 'not allowed';
    await expect(agent.tools.call('double', { n: 2 }, { contextId: 'c1' })).rejects.toMatchObject({
      code: 'TOOL_FAILED',
      cause: { message: 'not allowed' },
    });
    expect(hooks()).toEqual(['started', 'called', 'error toolCalled']);
    expect(await variables()).toEqual({ failed: 'toolCalled' });
  });

  it('are not blamed for a storage that is down when the conversation begins', async () => {
    await using agent = await watched();
    const down = new AgentUpError('STORAGE_UNAVAILABLE', 'down');
    storage.commit = () => Promise.reject(down);
    await expect(agent.tools.call('double', { n: 2 }, { contextId: 'c1' })).rejects.toBe(down);
    expect(hooks()).toEqual(['started']);
  });

  it('cannot undo what was done', async () => {
    await using agent = await watched();
    broken = true;
    expect(await agent.tools.call('double', { n: 2 }, { contextId: 'c1' })).toBe(4);
    expect(hooks()).toEqual(['started', 'called', 'completed', 'error toolCompleted']);
    expect(await variables()).toMatchObject({ doubled: 2 });
  });
});
