import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAgent } from '../../src/agent/create-agent.js';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { type Logger, silentLogger } from '../../src/logger.js';
import { skill } from '../../src/skill/skill.js';
import { stateful } from '../../src/skill/stateful.js';
import type { StatefulOptions } from '../../src/skill/stateful-options.js';
import type { Task } from '../../src/skill/task.js';
import { withState } from '../../src/skill/with-state.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';
import type { StateStorage } from '../../src/storage/state-storage.js';
import { valkeyUrl } from '../support/index.js';
import { RecordingStorage } from '../support/recording-storage.js';
import { startWorker } from '../support/workers.js';

const WORKER = join(import.meta.dirname, 'redelivery.worker.ts');
const task = (messageId?: string, more: Partial<Task> = {}): Task => ({
  id: 't1',
  contextId: 'c',
  text: 'hi',
  messageId,
  ...more,
});

describe.each(['memory', 'file', 'valkey'] as const)('a message that is delivered again, on %s', (backend) => {
  let directory: string;
  let storage: StateStorage;
  let options: StorageOptions;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'agentup-again-'));
    const name = randomBytes(4).toString('hex');
    options =
      backend === 'memory'
        ? { backend }
        : backend === 'file'
          ? { backend, storageDir: directory }
          : { backend, url: valkeyUrl(), keyPrefix: `again-${name}:` };
    storage = await openStorage(options);
  });
  afterAll(async () => {
    await storage.close();
    await rm(directory, { recursive: true, force: true });
  });

  let conversations = 0;
  /** A handler that counts its calls, and the conversation that it works on. */
  function setup(given: StatefulOptions = {}, body: (call: number) => unknown = (call) => `reply ${call}`) {
    let calls = 0;
    const contextId = `c${conversations++}`;
    const context = new ConversationContext(storage);
    const handler = withState(async function counting(_task, inside, id) {
      calls++;
      await inside.incrementVariable(id, 'n');
      await inside.addToHistory(id, 'user', 'hi');
      return body(calls);
    }, given);
    const deliver = (messageId?: string, more: Partial<Task> = {}) =>
      handler(task(messageId, { contextId, ...more }), context);
    return { deliver, context, contextId, calls: () => calls, count: () => context.getVariable(contextId, 'n', 0) };
  }

  it('gets the reply of then; the handler does not run', async () => {
    const { deliver, calls, count, context, contextId } = setup();
    expect(await deliver('m1')).toBe('reply 1');
    expect(await deliver('m2')).toBe('reply 2');
    expect(await deliver('m1')).toBe('reply 1');
    expect(await deliver('m2')).toBe('reply 2');
    expect([calls(), await count()]).toEqual([2, 2]);
    expect(await context.getHistory(contextId)).toHaveLength(2);
  });

  it('runs again after its turn threw', async () => {
    const { deliver, calls, count } = setup({}, (call) => {
      if (call === 1) throw new Error('not now');
      return 'better';
    });
    await expect(deliver('m1')).rejects.toThrow('not now');
    expect(await deliver('m1')).toBe('better');
    expect(await deliver('m1')).toBe('better');
    expect([calls(), await count()]).toEqual([2, 1]);
  });

  it.each(['serial', 'parallel'] as const)('waits while the first still runs (%s)', async (concurrency) => {
    let calls = 0;
    const contextId = `c${conversations++}`;
    const context = new ConversationContext(storage, { concurrency });
    const handler = withState(async (_task, inside, id) => {
      calls++;
      await new Promise((resolve) => setTimeout(resolve, 30));
      await inside.incrementVariable(id, 'n');
      return { calls };
    });
    const replies = await Promise.all(Array.from({ length: 5 }, () => handler(task('m1', { contextId }), context)));
    expect(replies).toEqual(Array.from({ length: 5 }, () => ({ calls: 1 })));
    expect(await context.getVariable(contextId, 'n')).toBe(1);
  });

  it('without an id, or with another in the same task, is another message', async () => {
    const { deliver, calls } = setup();
    for (const id of [undefined, undefined, '', '', 'm1', 'M1', 'm1 ']) await deliver(id);
    expect(calls()).toBe(7);
  });

  it('is answered with the same value, whatever it was', async () => {
    const values = [undefined, null, '', '1', 0, -0, false, [], { a: { b: [null] } }, 'ü'.repeat(1_000)];
    for (const value of values) {
      const { deliver, calls } = setup({}, () => value);
      expect(await deliver('m1')).toStrictEqual(value);
      expect(await deliver('m1')).toStrictEqual(value);
      expect(calls()).toBe(1);
    }
  });

  it('is forgotten after so many others', async () => {
    const context = new ConversationContext(storage, { dedupe: 3 });
    const contextId = `c${conversations++}`;
    const seen: string[] = [];
    const handler = withState(async ({ messageId }) => seen.push(messageId ?? ''));
    for (const id of ['1', '2', '3', '4', '2', '4', '1', '2']) await handler(task(id, { contextId }), context);
    expect(seen.join('')).toBe('123412');
  });

  it('is not recognised where the handler says so', async () => {
    const never = setup({ dedupe: false });
    await never.deliver('m1');
    await never.deliver('m1');
    expect(never.calls()).toBe(2);
    const own = setup({ dedupe: ({ metadata }) => metadata?.['delivery'] as string | undefined });
    await own.deliver('m1', { metadata: { delivery: 'd1' } });
    await own.deliver('m2', { metadata: { delivery: 'd1' } });
    await own.deliver('m2');
    await own.deliver('m2');
    expect(own.calls()).toBe(3);
  });

  if (backend !== 'memory')
    it('waits for a first delivery to another process, and takes its reply', async () => {
      const { deliver, calls, contextId } = setup();
      const worker = startWorker(WORKER, { options, contextId, stay: 300 });
      expect((await worker.lines.next()).value).toBe('inside');
      expect(await deliver('m1')).toBe('from the other');
      expect(calls()).toBe(0);
      expect(await worker.ended).toBe(0);
    });

  if (backend !== 'memory')
    it('runs again after the process that had it was killed', async () => {
      const { deliver, calls, contextId, count } = setup();
      const worker = startWorker(WORKER, { options, contextId, stay: 60_000 });
      expect((await worker.lines.next()).value).toBe('inside');
      worker.process.kill('SIGKILL');
      await worker.ended;
      expect(await deliver('m1')).toBe('reply 1');
      expect([calls(), await count()]).toEqual([1, 1]);
    });

  if (backend !== 'memory')
    it('in parallel turns of several processes has effect once', async () => {
      const { contextId, context } = setup();
      const start = { options, contextId, stay: 100, concurrency: 'parallel' };
      const workers = [startWorker(WORKER, start), startWorker(WORKER, start)];
      for (const worker of workers) {
        const lines: string[] = [];
        for await (const line of worker.lines) lines.push(line);
        expect(lines.at(-1)).toBe('replied from the other');
        expect(await worker.ended).toBe(0);
      }
      expect(await context.getVariable(contextId, 'n')).toBe(1);
    });
});

describe('a message that is delivered again', () => {
  it('costs no call more, and the first delivery none', async () => {
    const storage = new RecordingStorage(new MemoryStorage());
    const context = new ConversationContext(storage);
    const handler = withState(async (_task, inside, id) => inside.incrementVariable(id, 'n'));
    await handler(task('m1'), context);
    expect(storage.calls.map(({ name }) => name)).toEqual(['begin', 'commit']);
    storage.calls.length = 0;
    await handler(task('m1'), context);
    expect(storage.calls.map(({ name }) => name)).toEqual(['begin', 'commit']);
  });

  it('is kept also where the handler wrote nothing, under its owner', async () => {
    const context = new ConversationContext(new MemoryStorage());
    let calls = 0;
    const handler = withState(() => ++calls);
    await handler(task('m1', { userId: 'ann' }), context);
    expect(await handler(task('m1', { userId: 'ann' }), context)).toBe(1);
    expect(await context.getOrCreate('c')).toMatchObject({ userId: 'ann' });
    await expect(handler(task('m1', { userId: 'bob' }), context)).rejects.toMatchObject({ code: 'CONTEXT_FORBIDDEN' });
  });

  it('tells nobody what somebody else was answered', async () => {
    const context = new ConversationContext(new MemoryStorage());
    await context.setVariable('c', 'shared', true);
    const handler = withState(({ userId }) => `for ${userId}`);
    const shared = new ConversationContext(context.storage, { scope: { kind: 'conversation' } });
    // A conversation that nobody owns, as with callers that are not told apart until the second message.
    expect(await handler(task('m1'), shared)).toBe('for undefined');
    expect(await handler(task('m1', { userId: 'ann' }), shared)).toBe('for ann');
  });

  it('is answered by each handler for itself', async () => {
    const context = new ConversationContext(new MemoryStorage());
    class First {
      @stateful() async handle(_task: Task, _context?: ConversationContext) {
        return 'first';
      }
      @stateful() async other(_task: Task, _context?: ConversationContext) {
        return 'other';
      }
    }
    class Second {
      @stateful() async handle(_task: Task, _context?: ConversationContext) {
        return 'second';
      }
    }
    const functions = [withState(() => 1), withState(() => 2)];
    for (let i = 0; i < 2; i++) {
      expect(await functions[0]?.(task('m1'), context)).toBe(1);
      expect(await functions[1]?.(task('m1'), context)).toBe(2);
      expect(await new First().handle(task('m1'), context)).toBe('first');
      expect(await new First().other(task('m1'), context)).toBe('other');
      expect(await new Second().handle(task('m1'), context)).toBe('second');
    }
  });

  it('runs a handler that joins the turn of another, with the same task', async () => {
    const context = new ConversationContext(new MemoryStorage());
    let inner = 0;
    const second = withState(() => ++inner);
    const first = withState(async (ofTask, inside) => [await second(ofTask, inside), await second(ofTask, inside)]);
    expect(await first(task('m1'), context)).toEqual([1, 2]);
    expect(await first(task('m1'), context)).toEqual([1, 2]);
    expect(inner).toBe(2);
  });

  it('runs again after a save, when its turn then threw', async () => {
    const context = new ConversationContext(new MemoryStorage());
    let calls = 0;
    const handler = withState(async (_task, inside, id) => {
      await inside.setVariable(id, 'step', ++calls);
      await inside.save(id);
      if (calls === 1) throw new Error('after the save');
      return calls;
    });
    await expect(handler(task('m1'), context)).rejects.toThrow('after the save');
    expect(await handler(task('m1'), context)).toBe(2);
    expect(await handler(task('m1'), context)).toBe(2);
  });

  it('gets the JSON form of a reply that is more than JSON, or is told that there is none', async () => {
    const warnings: unknown[] = [];
    const logger: Logger = { ...silentLogger, warn: (...all) => void warnings.push(all) };
    const context = new ConversationContext(new MemoryStorage(), { logger });
    const again = async (name: string, value: unknown): Promise<unknown> => {
      const handler = withState(() => value);
      await handler(task(name), context);
      return handler(task(name), context).catch((error: { code: string }) => error.code);
    };
    const at = new Date(0);
    expect(await again('dates', { at, gone: undefined, list: [undefined] })).toStrictEqual({
      at: at.toJSON(),
      list: [null],
    });
    expect(await again('map', new Map([['a', new Set([1])]]))).toStrictEqual({ a: [1] });
    expect(await again('entries', { of: new Map([[1, 2]]) })).toStrictEqual({ of: [[1, 2]] });
    expect(warnings).toEqual([]);
    const lost = [10n, () => 1, Symbol('s'), { n: Number.NaN }, 'x'.repeat(70_000)];
    for (const [i, value] of lost.entries()) expect(await again(`lost${i}`, value)).toBe('REPLY_NOT_KEPT');
    expect(warnings).toHaveLength(lost.length);
  });

  it.each(['\ud800', 7, {}])('with the id %j is refused, and nothing runs', async (messageId) => {
    let calls = 0;
    const handler = withState(() => ++calls);
    const context = new ConversationContext(new MemoryStorage());
    await expect(handler(task(messageId as string), context)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(calls).toBe(0);
  });

  it('is answered as before for the newest 32 messages; one that is older is handled once more', async () => {
    const context = new ConversationContext(new MemoryStorage());
    let calls = 0;
    const handler = withState(() => ++calls);
    for (let n = 1; n <= 33; n++) expect(await handler(task(`m${n}`), context)).toBe(n);
    expect(await handler(task('m33'), context)).toBe(33);
    expect(await handler(task('m2'), context)).toBe(2);
    expect(await handler(task('m1'), context)).toBe(34);
    // Which is now the newest, and the oldest that was kept is not any more.
    expect([await handler(task('m1'), context), await handler(task('m3'), context)]).toEqual([34, 3]);
    expect(await handler(task('m2'), context)).toBe(35);
  });

  it('is recognised by ids of any length', async () => {
    const context = new ConversationContext(new MemoryStorage());
    let calls = 0;
    const handler = withState(() => ++calls);
    for (const id of ['x'.repeat(5_000), `${'x'.repeat(5_000)}y`]) {
      const first = await handler(task(id), context);
      expect(await handler(task(id), context)).toBe(first);
    }
    expect(calls).toBe(2);
  });

  it('is marked in the reply of an agent', async () => {
    @skill({ id: 'counting' })
    class Counting {
      @stateful() async handle(_task: Task, context?: ConversationContext, id = '') {
        return context?.incrementVariable(id, 'n');
      }
    }
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Counting] });
    expect(await agent.handle(task('m1'))).toMatchObject({ value: 1, text: '1', redelivered: false });
    expect(await agent.handle(task('m1'))).toMatchObject({ value: 1, text: '1', redelivered: true });
    expect(await agent.handle(task('m2'))).toMatchObject({ value: 2, redelivered: false });
    await using off = await createAgent({ state: { backend: 'memory', dedupe: 0 } }, { skills: [Counting] });
    await off.handle(task('m3'));
    expect((await off.handle(task('m3'))).redelivered).toBe(false);
  });
});
