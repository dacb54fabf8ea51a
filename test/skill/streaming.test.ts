import '../../src/agent/default-runtime.js';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createAgent } from '../../src/agent/create-agent.js';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { handler } from '../../src/skill/handler.js';
import { injected } from '../../src/skill/injected.js';
import { skill } from '../../src/skill/skill.js';
import { stateful } from '../../src/skill/stateful.js';
import type { Task } from '../../src/skill/task.js';
import { withState } from '../../src/skill/with-state.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';

const storage = new MemoryStorage();
const context = new ConversationContext(storage);
let finished = 0;

@skill({ id: 'teller' })
class Teller {
  @stateful({ storage })
  async *handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()) {
    try {
      const n = await context.incrementVariable(contextId, 'told');
      for (const word of task.text.split(' ')) yield `${word}${n} `;
      if (task.text.includes('fail')) throw new Error('no further');
    } finally {
      finished++;
    }
  }
}

@skill({ id: 'counter' })
class Counter {
  @handler()
  async *handle(_task: Task): AsyncGenerator<number, { total: number }> {
    yield 1;
    yield 2;
    return { total: 3 };
  }
}

const task = (text: string, contextId: string): Task => ({ id: 't', contextId, text });
const told = (contextId: string): Promise<number | undefined> => context.getVariable(contextId, 'told');

describe('a handler that streams', () => {
  it('runs its turn while its chunks are taken, and commits after the last one', async () => {
    const stream = new Teller().handle(task('a b', 'open'));
    expect(await stream.next()).toEqual({ done: false, value: 'a1 ' });
    expect(await told('open')).toBeUndefined();
    expect(await stream.next()).toEqual({ done: false, value: 'b1 ' });
    expect(await told('open')).toBeUndefined();
    expect(await stream.next()).toEqual({ done: true, value: 'a1 b1 ' });
    expect(await told('open')).toBe(1);
  });

  it('keeps nothing when it throws on its way, and hands the error on', async () => {
    const chunks: unknown[] = [];
    const all = (async () => {
      for await (const chunk of new Teller().handle(task('fail', 'thrown'))) chunks.push(chunk);
    })();
    await expect(all).rejects.toThrow('no further');
    expect(chunks).toEqual(['fail1 ']);
    expect(await told('thrown')).toBeUndefined();
  });

  it('keeps nothing when nobody listens any more, ends the handler, and lets the next turn in', async () => {
    const before = finished;
    for await (const _ of new Teller().handle(task('a b c', 'left'))) break;
    expect(finished).toBe(before + 1);
    expect(await told('left')).toBeUndefined();
    for await (const _ of new Teller().handle(task('a', 'left')));
    expect(await told('left')).toBe(1);
  });

  it('answers an agent with its chunks and, as the reply, all of them or what it returns', async () => {
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Teller, Counter] });
    const chunks: unknown[] = [];
    const onChunk = (chunk: unknown) => void chunks.push(chunk);
    const told = await agent.handle(task('x y', 'agent'), { skill: 'teller', onChunk });
    expect([told.text, chunks]).toEqual(['x1 y1 ', ['x1 ', 'y1 ']]);
    const counted = await agent.handle(task('', 'agent'), { skill: 'counter', onChunk });
    expect([counted.value, chunks.slice(2)]).toEqual([{ total: 3 }, [1, 2]]);
  });

  it('is not run again for a message that comes again: its reply is what it was', async () => {
    let runs = 0;
    const count = withState(
      async function* count(_task: Task, context, contextId) {
        runs++;
        yield await context.incrementVariable(contextId, 'n');
        yield { last: true };
      },
      { storage },
    );
    const message = { ...task('', 'again'), messageId: 'm1' };
    const read = async () => {
      const chunks: unknown[] = [];
      const stream = count(message);
      for (;;) {
        const { done, value } = await stream.next();
        if (done) return { chunks, reply: value as unknown };
        chunks.push(value);
      }
    };
    expect(await read()).toEqual({ chunks: [1, { last: true }], reply: [1, { last: true }] });
    expect(await read()).toEqual({ chunks: [], reply: [1, { last: true }] });
    expect(runs).toBe(1);
  });
});

describe('a handler that returns a web stream', () => {
  const streamed = (chunks: readonly unknown[], failing?: Error): ReadableStream =>
    new ReadableStream({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(chunk);
        if (!failing) return controller.close();
      },
      pull(controller) {
        controller.error(failing);
      },
    });
  const counted = (id: string, stream: () => ReadableStream) =>
    withState(
      async function told(_task, memory, contextId) {
        await memory.incrementVariable(contextId, 'told');
        return stream();
      },
      { storage, contextId: () => id },
    );

  it('streams its chunks in its turn, its bytes as text, and answers a redelivery with all of them', async () => {
    const bytes = Buffer.from('für ');
    const told = counted('web', () => streamed(['a ', bytes.subarray(0, 2), bytes.subarray(2), 'b']));
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [told] });
    const chunks: unknown[] = [];
    const handle = () =>
      agent.handle(
        { ...task('x', 'web'), messageId: 'm1' },
        {
          onChunk: async (chunk) => {
            expect(await storage.read(context.keyOf('web'))).toBeUndefined();
            chunks.push(chunk);
          },
        },
      );
    expect(await handle()).toMatchObject({ value: 'a für b', redelivered: false });
    expect(chunks).toEqual(['a ', 'f', 'ür ', 'b']);
    expect(await handle()).toMatchObject({ value: 'a für b', redelivered: true });
    expect(await context.getVariable('web', 'told')).toBe(1);
  });

  it('keeps nothing where the stream fails, and stops it where the task is cancelled', async () => {
    await expect(
      counted('broken', () => streamed(['a'], new Error('no further')))(task('x', 'broken')),
    ).rejects.toThrow('no further');
    expect(await context.getVariable('broken', 'told')).toBeUndefined();
    let stopped = false;
    const endless = new ReadableStream({
      pull: (controller) => controller.enqueue('more '),
      cancel: () => {
        stopped = true;
      },
    });
    const told = counted('endless', () => endless);
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [told] });
    const ending = new AbortController();
    const onChunk = (): void => ending.abort();
    await expect(agent.handle({ ...task('x', 'endless'), signal: ending.signal }, { onChunk })).rejects.toMatchObject({
      code: 'TURN_CANCELLED',
    });
    await expect.poll(() => stopped).toBe(true);
    expect(await context.getVariable('endless', 'told')).toBeUndefined();
  });

  it('is stopped at once where its task is cancelled, also while it has nothing to send', async () => {
    const stopped: string[] = [];
    const silent = (name: string) => new ReadableStream({ cancel: () => void stopped.push(name) });
    @skill({ id: 'plain' })
    class Plain {
      @handler()
      async handle(): Promise<ReadableStream> {
        return silent('plain');
      }
    }
    const handlers = { remembers: counted('silent', () => silent('remembers')), plain: Plain };
    for (const [name, silentOne] of Object.entries(handlers)) {
      await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [silentOne] });
      const ending = new AbortController();
      const answer = agent.handle({ ...task('x', 'silent'), signal: ending.signal });
      // Until it is read from.
      for (let step = 0; step < 5; step++) await setImmediate();
      ending.abort();
      await expect(answer).rejects.toMatchObject({ code: 'TURN_CANCELLED' });
      expect(stopped).toContain(name);
    }
  });

  it('streams without a memory too', async () => {
    @skill({ id: 'plain' })
    class Plain {
      @handler()
      async handle(): Promise<ReadableStream> {
        return streamed([1, 2]);
      }
    }
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Plain] });
    const chunks: unknown[] = [];
    expect(await agent.handle(task('x', 'plain'), { onChunk: (chunk) => void chunks.push(chunk) })).toMatchObject({
      value: [1, 2],
    });
    expect(chunks).toEqual([1, 2]);
  });
});
