import '../../src/agent/default-runtime.js';
import { getEventListeners } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createAgent } from '../../src/agent/create-agent.js';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { handler } from '../../src/skill/handler.js';
import { inputRequired } from '../../src/skill/input-required.js';
import { skill } from '../../src/skill/skill.js';
import type { Task } from '../../src/skill/task.js';
import { Cancellation } from '../../src/skill/turn-signal.js';
import { withState } from '../../src/skill/with-state.js';
import { FileStorage } from '../../src/storage/file/file-storage.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { StateStorage } from '../../src/storage/state-storage.js';
import { RecordingStorage } from '../support/recording-storage.js';

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

/** Two ways to end a task before its time, and what each makes of one. */
const WAYS: Record<string, () => { cancel: () => void; of: (task: Task) => Task }> = {
  'its signal': () => {
    const abort = new AbortController();
    return { cancel: () => abort.abort(), of: (task) => ({ ...task, signal: abort.signal }) };
  },
  'its server': () => {
    const cancellation = new Cancellation();
    return { cancel: () => cancellation.cancel('enough'), of: (task) => Cancellation.of(task, cancellation) };
  },
};

describe.each(Object.keys(WAYS))('a task that waits in line and is cancelled by %s', (way) => {
  const message = (text: string): Task => ({ id: 't', contextId: 'c', text });
  const cancelling = () => (WAYS[way] as () => { cancel: () => void; of: (task: Task) => Task })();

  /** Notes each message; `hold` lasts until it is let go. */
  function noting(storage: StateStorage) {
    let letGo: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const ran: string[] = [];
    const handle = withState(async (task: Task, context: ConversationContext, id) => {
      ran.push(task.text);
      if (task.text === 'hold') await held;
      return context.appendToVariable(id, 'said', task.text);
    });
    const context = new ConversationContext(storage, { wait: 5, maxWaiting: 3 });
    return { letGo, ran, say: (task: Task) => handle(task, context) };
  }

  it('leaves it at once, and gives its place to others', async () => {
    const storage = new MemoryStorage();
    const { say, letGo, ran } = noting(storage);
    const { cancel, of } = cancelling();
    const hold = say(message('hold'));
    const gone = [say(of(message('gone'))), say(of(message('gone too')))];
    await expect(say(message('one too many'))).rejects.toMatchObject({ code: 'CONVERSATION_BUSY' });
    const ended = Promise.allSettled(gone);
    cancel();
    cancel();
    const refused = { reason: { code: 'TURN_CANCELLED' } };
    expect(await ended).toMatchObject([refused, refused]);
    // It does not get in line again.
    await expect(say(of(message('again')))).rejects.toMatchObject({ code: 'TURN_CANCELLED' });
    const after = [say(message('a')), say(message('b'))];
    letGo();
    await Promise.all([hold, ...after]);
    expect(ran).toEqual(['hold', 'a', 'b']);
  });

  it('stops asking for the lease that another process holds', async () => {
    const storageDir = mkdtempSync(join(tmpdir(), 'agentup-turn-signal-'));
    const [here, there] = [new FileStorage({ storageDir }), new RecordingStorage(new FileStorage({ storageDir }))];
    try {
      const { say: sayHere, letGo } = noting(here);
      const { say: sayThere, ran } = noting(there);
      const { cancel, of } = cancelling();
      const hold = sayHere(message('hold'));
      const gone = sayThere(of(message('gone')));
      await expect.poll(() => there.calls.length).toBeGreaterThan(3);
      cancel();
      await expect(gone).rejects.toMatchObject({ code: 'TURN_CANCELLED' });
      letGo();
      await hold;
      await sayThere(message('next'));
      expect(ran).toEqual(['next']);
    } finally {
      await Promise.all([here.close(), there.close()]);
      rmSync(storageDir, { recursive: true });
    }
  });
});

describe('a task that waited in line', () => {
  it('leaves no listener behind', async () => {
    const context = new ConversationContext(new MemoryStorage());
    const { signal } = new AbortController();
    const handle = withState(() => setImmediate());
    await Promise.all([1, 2, 3].map(() => handle({ id: 't', contextId: 'c', text: '', signal }, context)));
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
