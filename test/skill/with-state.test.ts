import '../../src/agent/default-runtime.js';
import { AsyncResource } from 'node:async_hooks';
import { describe, expect, it } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { AgentUpError } from '../../src/errors.js';
import { withRuntime } from '../../src/skill/state-runtime.js';
import { stateful } from '../../src/skill/stateful.js';
import type { StatefulOptions } from '../../src/skill/stateful-options.js';
import { type Task, textOf } from '../../src/skill/task.js';
import { withState } from '../../src/skill/with-state.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { StateStorage } from '../../src/storage/state-storage.js';

const count = (options?: StatefulOptions) =>
  withState(
    async (_task, context, contextId) => `${contextId} ${await context.incrementVariable(contextId, 'n')}`,
    options,
  );
const task = (more: Partial<Task> = {}): Task => ({ id: 't1', text: 'hi', ...more });

describe('a context passed to a handler', () => {
  it('is the one that is used, also when another installed copy of the package made it', async () => {
    const copy = '../../src/conversation/conversation-context.js?copy';
    const other = (await import(copy)) as { ConversationContext: typeof ConversationContext };
    expect(other.ConversationContext).not.toBe(ConversationContext);
    const context = new other.ConversationContext(new MemoryStorage());
    const handler = withState(async (_task, inside, id) => inside.incrementVariable(id, 'n'), {
      storage: new MemoryStorage(),
    });
    expect(await handler(task({ contextId: 'c' }), context)).toBe(1);
    expect(await context.getVariable('c', 'n')).toBe(1);
  });
});

describe('a key of a task that is misspelled', () => {
  const storage = new MemoryStorage();
  it.each<readonly [string, StatefulOptions, object, fix: string]>([
    ['contextID', {}, { contextID: 'c' }, 'contextId'],
    ['context_id', {}, { context_id: 'c' }, 'contextId'],
    ['tenant_id', {}, { contextId: 'c', tenant_id: 'a' }, 'tenantId'],
    [
      'user_id, where the user says which conversation',
      { scope: 'session' },
      { contextId: 'c', user_id: 'u' },
      'userId',
    ],
    ['userID, where there is one for each user', { scope: 'user' }, { userID: 'u' }, 'userId'],
  ])('is refused: %s', async (_, options, more, name) => {
    await expect(count({ ...options, storage })({ ...task(), ...more })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining(`and no ${name}`),
      details: { fix: `write \`${name}\`` },
    });
  });

  it.each<readonly [string, StatefulOptions, object]>([
    ['beside the right one', {}, { contextId: 'own', context_id: 'c' }],
    ['where the handler reads it', { contextId: (given) => (given as never)['context_id'] }, { context_id: 'own' }],
    ['where no conversation depends on it', {}, { contextId: 'own', user_id: 'u', session_id: 's' }],
    ['without a value', {}, { contextId: 'own', tenant_id: undefined }],
  ])('is a key of its own %s', async (_, options, more) => {
    await expect(count({ ...options, storage })({ ...task(), ...more })).resolves.toMatch(/^own /);
  });
});

describe('the context id', () => {
  it('says what to write where a platform has numbers', async () => {
    const handler = count({ storage: new MemoryStorage() });
    await expect(handler(task({ contextId: 7 as never }))).rejects.toMatchObject({
      message: 'contextId must be a string, not number',
      details: { fix: 'write String() of it' },
    });
  });

  it.each([
    ['task.contextId', {}, task({ contextId: 'c1' }), 'c1 1'],
    ['task.id where there is none', {}, task(), 't1 1'],
    [
      'options.contextId',
      { contextId: (t: Task) => `room ${t.metadata?.['room']}` },
      task({ metadata: { room: 7 } }),
      'room 7 1',
    ],
    ['the user id where the scope is the user', { scope: 'user' }, task({ userId: 'u1', contextId: 'c1' }), 'u1 1'],
  ] as const)('is %s', async (_, options, given, expected) => {
    expect(await count({ ...options, storage: new MemoryStorage() })(given)).toBe(expected);
  });

  it.each([
    ['an empty contextId', {}, task({ contextId: '' })],
    ['no id at all', {}, { text: 'hi' } as Task],
    ['an empty answer of options.contextId', { contextId: () => '' }, task()],
    ['no user where the scope is the user', { scope: 'user' }, task({ contextId: 'c' })],
    ['no user where the scope is the session', { scope: 'session' }, task({ contextId: 'c' })],
  ] as const)('is missed in %s, which is an error and never a shared bucket', async (_, options, given) => {
    const storage = new MemoryStorage();
    await expect(count({ ...options, storage })(given)).rejects.toMatchObject({ code: 'CONTEXT_ID_MISSING' });
    for await (const left of storage.list({ space: 'contexts' })) expect.fail(left.key.id);
  });

  it('refuses what is no function, at once', () => {
    for (const odd of [undefined, { handle: () => 'x' }]) {
      expect(() => withState(odd as never)).toThrow(`withState() takes a function, not ${typeof odd}`);
    }
  });

  describe.each([
    ['withState()', (options: never) => withState(() => '', options)],
    ['@stateful()', (options: never) => stateful(options)],
  ])('%s is given wrong options, which are refused at once', (of, define) => {
    it.each([
      ['scope', 'conversations', /it is 'conversation' or 'user' or 'session'$/, /^give `scope`/],
      ['history', -1, /history -1; it is a whole number from 0 on$/, /^give `history`/],
      ['history', Number.NaN, /NaN/, /^give/],
      ['history', '5', /history "5"/, /^give/],
      ['concurrency', 'serially', /'serial' or 'parallel'$/, /^give/],
      ['onUnavailable', 'ignore', /'fail' or 'degrade'$/, /^give/],
      ['storage', 'valkey://:s3cret@host', /storage "valkey:\/\/:\*\*\*@host"/, /^give/],
      ['storage', { read() {} }, /storage object/, /^give/],
      ['url', '', /url ""/, /^give/],
      ['url', 6379, /url 6379/, /^give/],
      ['keyPrefix', null, /keyPrefix null/, /^give/],
      ['storageDir', 1, /a directory$/, /^give/],
      ['contextId', 'c', /a function/, /^give/],
      ['dedupe', true, /a function that is given the task, or false$/, /^give/],
      ['key_prefix', 'p:', /has no option "key_prefix"$/, /^write `keyPrefix`$/],
      ['backend', 'file', /has no option "backend"$/, /^write `storage`$/],
      ['messages', 5, /has no option "messages"$/, /^use one of ttl, storage, .*, onUnavailable$/],
    ])('%s: %j', (argument, value, message, fix) => {
      const details = expect.objectContaining({ argument, fix: expect.stringMatching(fix) });
      const error = { code: 'INVALID_ARGUMENT', details, message: expect.stringMatching(message) };
      expect(() => define({ [argument]: value } as never)).toThrow(expect.objectContaining(error));
    });

    it('a time to live, and what are no options at all', () => {
      expect(() => define({ ttl: 0 } as never)).toThrow(expect.objectContaining({ code: 'TTL_INVALID' }));
      for (const odd of [null, 'file', []]) expect(() => define(odd as never)).toThrow(`${of} takes its options as`);
    });

    it('and right ones are not', () => {
      const storage = new MemoryStorage();
      const whole: Required<StatefulOptions> = {
        ...{ storage, url: 'a:1,b:2', keyPrefix: 'p:', ttl: 'none', storageDir: '.', concurrency: 'parallel' },
        ...{ scope: 'session', history: 0, contextId: () => 'c', dedupe: false, onUnavailable: 'degrade' },
      };
      const nothing = Object.fromEntries(Object.keys(whole).map((name) => [name, undefined]));
      for (const right of [whole, nothing, {}, undefined]) expect(define(right as never)).toBeTypeOf('function');
    });
  });

  it('refuses what is no task', async () => {
    await expect(count({ storage: new MemoryStorage() })('hi' as never)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });
});

describe('scopes', () => {
  it('keeps tenants, users and sessions apart, also where their names look alike', async () => {
    const storage = new MemoryStorage();
    const conversation = count({ storage });
    const user = count({ storage, scope: 'user' });
    const session = count({ storage, scope: 'session' });
    const a = task({ tenantId: 'a', userId: 'b', contextId: 'c' });
    expect(await conversation(a)).toBe('c 1');
    expect(await conversation({ ...a, tenantId: 'a/b' })).toBe('c 1');
    expect(await conversation({ ...a, tenantId: undefined })).toBe('c 1');
    expect(await user(a)).toBe('b 1');
    expect(await user({ ...a, contextId: 'other' })).toBe('b 2');
    expect(await session(a)).toBe('c 1');
    expect(await session({ ...a, userId: 'b2' })).toBe('c 1');
    expect(await session({ ...a, tenantId: undefined, userId: 'a' })).toBe('c 1');
    expect(await conversation(a)).toBe('c 2');
  });

  it("does not hand one user's conversation to another, and does not say whose it is", async () => {
    const storage = new MemoryStorage();
    const handler = count({ storage });
    let calls = 0;
    const counted = withState(() => void calls++, { storage });
    await handler(task({ contextId: 'c', userId: 'alice' }));
    const stolen = counted(task({ contextId: 'c', userId: 'mallory' }));
    await expect(stolen).rejects.toMatchObject({ code: 'CONTEXT_FORBIDDEN' });
    await expect(stolen).rejects.not.toThrow(/alice/);
    expect(calls).toBe(0);
    expect(await handler(task({ contextId: 'c', userId: 'alice' }))).toBe('c 2');
    expect((await storage.read({ space: 'contexts', scope: [], id: 'c' }))?.owner).toBe('alice');
  });

  it('does not make a conversation for a user who only read', async () => {
    const storage = new MemoryStorage();
    await withState((_task, context, id) => context.getVariable(id, 'x'), { storage })(task({ userId: 'u' }));
    expect(await storage.read({ space: 'contexts', scope: [], id: 't1' })).toBeUndefined();
  });
});

describe('withState', () => {
  it('keeps name, length and this, and passes a reply of any kind on', async () => {
    async function greet(this: { word: string }, given: Task): Promise<object> {
      return { said: `${this.word} ${given.text}` };
    }
    const wrapped = withState(greet, { storage: new MemoryStorage() });
    expect([wrapped.name, wrapped.length]).toEqual(['greet', 1]);
    expect(await wrapped.call({ word: 'oh' }, task())).toEqual({ said: 'oh hi' });
  });

  it('gets its storage from the agent it runs in, with its own options', async () => {
    const storage = new MemoryStorage();
    const asked: unknown[] = [];
    const options = { ttl: 5 };
    const runtime = {
      contextFor: (given: unknown) => {
        asked.push(given);
        return new ConversationContext(storage, options);
      },
    };
    const handler = count(options);
    expect(await withRuntime(runtime, { redelivered: false }, () => handler(task()))).toBe('t1 1');
    expect(asked).toEqual([options]);
    expect(await new ConversationContext(storage).getTtl('t1')).toBe(5);
  });

  it('runs on a context that is passed to it, as tests do', async () => {
    const context = new ConversationContext(new MemoryStorage());
    expect(await count()(task(), context)).toBe('t1 1');
    expect(await context.getVariable('t1', 'n')).toBe(1);
  });
});

describe('when the storage is unavailable', () => {
  const down = (when: 'begin' | 'read' | 'commit'): StateStorage => {
    const storage = new MemoryStorage();
    const inner = storage[when].bind(storage) as () => Promise<never>;
    storage[when] = (async (...args: unknown[]) => {
      if (when === 'commit' && (args[1] as unknown[]).length === 0) return inner(...(args as []));
      throw new AgentUpError('STORAGE_UNAVAILABLE', 'down');
    }) as never;
    return storage;
  };

  it('fails, and does not run the handler', async () => {
    let calls = 0;
    const handler = withState(() => void calls++, { storage: down('begin') });
    await expect(handler(task())).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(calls).toBe(0);
  });

  it('runs the handler once, without memory, where it may degrade', async () => {
    for (const [concurrency, when] of [
      ['serial', 'begin'],
      ['serial', 'commit'],
      ['parallel', 'read'],
      ['parallel', 'commit'],
    ] as const) {
      const seen: boolean[] = [];
      const handler = withState(
        async (_task, context, id) => {
          seen.push(context.degraded);
          return context.incrementVariable(id, 'n');
        },
        { storage: down(when), concurrency, onUnavailable: 'degrade' },
      );
      expect(await handler(task())).toBe(1);
      expect(seen).toEqual([when !== 'commit']);
    }
  });

  it('passes on what the handler itself throws, and does not run it again', async () => {
    let calls = 0;
    const handler = withState(
      () => {
        calls++;
        throw new AgentUpError('STORAGE_UNAVAILABLE', 'of something else');
      },
      { storage: new MemoryStorage(), onUnavailable: 'degrade' },
    );
    await expect(handler(task())).rejects.toThrow('of something else');
    expect(calls).toBe(1);
  });
});

describe('textOf', () => {
  it.each([
    ['a task', { id: 't', text: 'hi' }, 'hi'],
    ['a string', 'hi', 'hi'],
    [
      'an A2A message',
      {
        role: 'user',
        parts: [
          { kind: 'text', text: 'a' },
          { kind: 'file', file: {} },
          { kind: 'text', text: 'b' },
        ],
      },
      'a\nb',
    ],
    ['an A2A 1.0 message', { parts: [{ text: 'a' }, { data: { x: 1 } }] }, 'a'],
    ['parts wrapped in root', { parts: [{ root: { text: 'a' } }] }, 'a'],
    ['a request with a message', { message: { parts: [{ text: 'a' }] } }, 'a'],
    [
      'an A2A task',
      {
        history: [
          { role: 'user', parts: [{ text: 'old' }] },
          { role: 'user', parts: [{ text: 'new' }] },
          { role: 'agent', parts: [{ text: 'no' }] },
        ],
      },
      'new',
    ],
    ['a task with a status message only', { status: { message: { parts: [{ text: 'asked' }] } } }, 'asked'],
    ['nothing', undefined, ''],
    ['a number', 7, ''],
    ['no text', { parts: [{ kind: 'file' }, null] }, ''],
  ])('of %s', (_, source, expected) => {
    expect(textOf(source)).toBe(expected);
  });
});

describe('the first message of a conversation, sent by two users at once', () => {
  it.each(['serial', 'parallel'] as const)(
    'makes it the first one, and nothing of the other (%s)',
    async (concurrency) => {
      const storage = new MemoryStorage();
      const handler = withState(
        async (given, context, id) => {
          await context.setVariable(id, `of ${given.userId}`, true);
          await new Promise((resolve) => setImmediate(resolve));
        },
        { storage, concurrency },
      );
      const outcomes = await Promise.allSettled(
        ['ann', 'bob', 'ann'].map((userId) => handler(task({ contextId: 'c', userId }))),
      );
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
      expect(outcomes[1]).toMatchObject({ reason: { code: 'CONTEXT_FORBIDDEN' } });
      const context = new ConversationContext(storage);
      expect(await context.getVariables('c')).toEqual({ 'of ann': true });
      expect(await context.getOrCreate('c', { userId: 'ann' })).toMatchObject({ userId: 'ann' });
    },
  );

  it('does not undo what somebody outside a turn has taken meanwhile', async () => {
    const storage = new MemoryStorage();
    const outside = new ConversationContext(storage);
    const other = new AsyncResource('outside'); // as another process
    const handler = withState(
      async (_task, context, id) => {
        await context.setVariable(id, 'x', 1);
        await other.runInAsyncScope(() => outside.getOrCreate(id, { userId: 'bob' }));
      },
      { storage },
    );
    await expect(handler(task({ userId: 'ann' }))).rejects.toMatchObject({ code: 'CONTEXT_FORBIDDEN' });
    expect(await outside.getOrCreate('t1')).toMatchObject({ userId: 'bob', variables: {} });
  });
});
