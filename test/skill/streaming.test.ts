import '../../src/agent/default-runtime.js';
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
