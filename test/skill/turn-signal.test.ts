import '../../src/agent/default-runtime.js';
import { getEventListeners } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createAgent } from '../../src/agent/create-agent.js';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { handler } from '../../src/skill/handler.js';
import { inputRequired } from '../../src/skill/input-required.js';
import { skill } from '../../src/skill/skill.js';
import { withState } from '../../src/skill/with-state.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';

describe('the signal of a task', () => {
  const storage = new MemoryStorage();
  const context = new ConversationContext(storage);

  it('ends a turn whose handler does not listen: nothing is kept, and the next turn runs at once', async () => {
    const abort = new AbortController();
    let begun: () => void = () => {};
    const running = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const stuck = withState(
      async (task, inside, id) => {
        await inside.setVariable(id, 'x', task.text);
        if (task.signal) {
          begun();
          await new Promise(() => {});
        }
      },
      { storage },
    );
    const first = stuck({ id: 't', contextId: 'c', text: 'first', signal: abort.signal });
    await running;
    abort.abort(new Error('enough'));
    await expect(first).rejects.toMatchObject({ code: 'TURN_CANCELLED', cause: { message: 'enough' } });
    expect(await context.getVariable('c', 'x')).toBeUndefined();
    await stuck({ id: 't', contextId: 'c', text: 'second' });
    expect(await context.getVariable('c', 'x')).toBe('second');
  });

  it('ends a handler without state as well: what it says later is not heard', async () => {
    for (const streams of [false, true]) {
      let release: () => void = () => {};
      const released = new Promise<void>((resolve) => {
        release = resolve;
      });
      @skill({ id: 'plain' })
      class Plain {
        @handler()
        handle(): unknown {
          return streams ? this.chunks() : released;
        }
        async *chunks() {
          yield 'first';
          await released;
          yield 'late';
        }
      }
      await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Plain] });
      const abort = new AbortController();
      const heard: unknown[] = [];
      const task = { id: 't', text: '', signal: abort.signal };
      const answer = agent.handle(task, { onChunk: (chunk) => void heard.push(chunk) });
      await setImmediate();
      abort.abort();
      await expect(answer).rejects.toMatchObject({ code: 'TURN_CANCELLED' });
      release();
      await setImmediate();
      expect(heard).toEqual(streams ? ['first'] : []);
    }
  });

  it('aborted before the turn begins, keeps the handler from being called', async () => {
    let calls = 0;
    const count = withState(
      () => {
        calls++;
      },
      { storage },
    );
    const signal = AbortSignal.abort();
    await expect(count({ id: 't', contextId: 'never', text: '', signal })).rejects.toMatchObject({
      code: 'TURN_CANCELLED',
    });
    expect(calls).toBe(0);
  });

  it('aborted by the handler itself as it ends, keeps nothing either', async () => {
    const abort = new AbortController();
    const late = withState(
      async (_task, inside, id) => {
        await inside.setVariable(id, 'x', 1);
        queueMicrotask(() => abort.abort());
        return 'done';
      },
      { storage },
    );
    await expect(late({ id: 't', contextId: 'late', text: '', signal: abort.signal })).rejects.toMatchObject({
      code: 'TURN_CANCELLED',
    });
    expect(await context.getVariable('late', 'x')).toBeUndefined();
  });

  it('leaves no listener behind on a turn that ends by itself', async () => {
    const { signal } = new AbortController();
    await withState(() => 'x', { storage })({ id: 't', contextId: 'tidy', text: '', signal });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

describe('a question kept for a redelivery', () => {
  it('tells which task it belongs to', async () => {
    const storage = new MemoryStorage();
    const ask = withState(() => inputRequired('Which size?', ['S', 'L']), { storage });
    const message = { contextId: 'c', messageId: 'm', text: '' };
    expect(await ask({ ...message, id: 'first' })).toEqual({
      kind: 'input-required',
      question: 'Which size?',
      data: ['S', 'L'],
    });
    expect(await ask({ ...message, id: 'second' })).toMatchObject({ question: 'Which size?', taskId: 'first' });
  });
});
