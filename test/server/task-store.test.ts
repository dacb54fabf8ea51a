import { type Task, TaskState } from '@a2a-js/sdk';
import { ServerCallContext } from '@a2a-js/sdk/server';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AgentUpError } from '../../src/errors.js';
import { StatePushStore } from '../../src/server/a2a/push-store.js';
import { StateTaskStore } from '../../src/server/a2a/task-store.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { a2aClient, isTask, request, say, textIn } from '../support/a2a-client.js';
import { TestClock } from '../support/test-clock.js';
import { serve } from './serving.js';

const WORKING = TaskState.TASK_STATE_WORKING;
const COMPLETED = TaskState.TASK_STATE_COMPLETED;
const FAILED = TaskState.TASK_STATE_FAILED;
const caller = (): ServerCallContext => new ServerCallContext({});

function taskIn(state: TaskState, id = 't1', contextId = 'c1', messageId = 'm1', text = 'count'): Task {
  const { message } = request(text, { contextId, messageId });
  return {
    id,
    contextId,
    status: { state, message: undefined, timestamp: new Date().toISOString() },
    artifacts: [],
    history: message ? [message] : [],
    metadata: undefined,
  };
}

afterEach(() => {
  vi.useRealTimers();
});

describe('a task at work in another server', () => {
  it('has failed when that one has not been heard of for a minute, and not as long as it lives', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const clock = new TestClock();
    const storage = new MemoryStorage({ clock });
    const [worker, reader] = [new StateTaskStore(storage, { clock }), new StateTaskStore(storage, { clock })];
    await worker.save(taskIn(WORKING), caller());
    const seen = async (): Promise<TaskState | undefined> => (await reader.load('t1', caller()))?.status?.state;
    for (let quarter = 0; quarter < 12; quarter++) {
      expect(await seen()).toBe(WORKING);
      clock.advance(15_000);
      await vi.advanceTimersByTimeAsync(15_000);
    }
    vi.clearAllTimers();
    clock.advance(59_999);
    expect(await seen()).toBe(WORKING);
    clock.advance(1);
    const failed = await reader.load('t1', caller());
    expect(failed).toMatchObject({ status: { state: FAILED }, metadata: { code: 'INTERRUPTED' } });
    expect(await reader.load('t1', caller())).toEqual(failed);
    // It was not gone after all: only slow.
    await worker.save(taskIn(COMPLETED), caller());
    expect(await seen()).toBe(COMPLETED);
    await Promise.all([worker.leave(), reader.leave()]);
    await storage.close();
  });

  it('is that of no server once that one has said goodbye, whatever its turns still say', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const storage = new MemoryStorage();
    const [store, other] = [new StateTaskStore(storage), new StateTaskStore(storage)];
    await store.save(taskIn(WORKING), caller());
    await store.leave();
    await store.save(taskIn(WORKING, 't2'), caller());
    expect(vi.getTimerCount()).toBe(0);
    expect(await other.load('t2', caller())).toMatchObject({ metadata: { code: 'INTERRUPTED' } });
    await storage.close();
  });

  it('costs its server no write of its own, but for the first', async () => {
    const storage = new MemoryStorage();
    const [begin, commit] = [vi.spyOn(storage, 'begin'), vi.spyOn(storage, 'commit')];
    const store = new StateTaskStore(storage);
    const costs = async (id: string): Promise<number> => {
      begin.mockClear();
      commit.mockClear();
      await store.save(taskIn(WORKING, id), caller());
      await store.save(taskIn(COMPLETED, id), caller());
      return begin.mock.calls.length + commit.mock.calls.length;
    };
    expect([await costs('a'), await costs('b'), await costs('c')]).toEqual([3, 2, 2]);
    await store.close();
  });

  it('has failed for its caller when that one is gone, and its message sent again is answered, once', async () => {
    await using serving = await serve();
    const client = await a2aClient(serving.url);
    const { contextId } = await say(client, 'count');
    const left = new StateTaskStore(serving.server.agent.context.storage);
    await left.save(taskIn(WORKING, 't1', contextId, 'm1'), caller());
    const get = async () => client.getTask({ tenant: '', id: 't1' });
    expect((await get()).status?.state).toBe(WORKING);
    await left.leave();
    const failed = await get();
    expect(failed).toMatchObject({ status: { state: FAILED }, metadata: { code: 'INTERRUPTED' } });
    expect(textIn(failed)).toBe('The server that worked on this is gone. Send the message again.');
    const listed = async (status: TaskState) =>
      (
        await client.listTasks({ tenant: '', contextId, status, pageToken: '', statusTimestampAfter: undefined })
      ).tasks.map(({ id }) => id);
    expect([await listed(FAILED), await listed(WORKING)]).toEqual([['t1'], []]);
    await expect(client.cancelTask({ tenant: '', id: 't1', metadata: undefined })).rejects.toMatchObject({
      reason: 'TASK_NOT_CANCELABLE',
    });
    // Another message does not wake it.
    await expect(say(client, 'count', { taskId: 't1', contextId, messageId: 'm2' })).rejects.toThrow(/terminal/);
    const again = { taskId: 't1', contextId, messageId: 'm1' };
    const answered = await say(client, 'count', again);
    expect(isTask(answered) && [answered.id, answered.status?.state]).toEqual(['t1', COMPLETED]);
    expect(textIn(answered)).toBe('2 nobody');
    expect((await get()).status?.state).toBe(COMPLETED);
    expect(textIn(await say(client, 'count', { contextId, messageId: 'm1' }))).toBe('2 nobody');
    expect(textIn(await say(client, 'count', { contextId }))).toBe('3 nobody');
  });
});

describe('a task with a long stream', () => {
  it('is handed out with lists of its own and without a copy of each part, however often that is', async () => {
    const storage = new MemoryStorage();
    const store = new StateTaskStore(storage);
    const part = {
      content: { $case: 'data' as const, value: { n: 1 } },
      metadata: undefined,
      filename: '',
      mediaType: '',
    };
    const artifact = {
      artifactId: 'reply',
      name: '',
      description: '',
      parts: [part],
      metadata: undefined,
      extensions: [],
    };
    await store.save({ ...taskIn(WORKING), artifacts: [artifact] }, caller());
    const [one, other] = [await store.load('t1', caller()), await store.load('t1', caller())];
    if (!one?.artifacts[0] || !other?.artifacts[0]) expect.fail('no task');
    expect(one.artifacts[0].parts[0]).toBe(other.artifacts[0].parts[0]);
    // What the SDK does to a task with each chunk.
    one.artifacts[0].parts = [...one.artifacts[0].parts, part];
    one.artifacts.push(artifact);
    one.history = [];
    one.metadata = { changed: true };
    expect(await store.load('t1', caller())).toEqual({
      ...taskIn(WORKING),
      artifacts: [artifact],
      status: other.status,
    });
    await store.close();
  });
});

describe('a task that is over', () => {
  it('is forgotten so long after it last changed, with where its news were to go', async () => {
    const clock = new TestClock();
    const storage = new MemoryStorage({ clock });
    const store = new StateTaskStore(storage, { clock, ttl: 60 });
    const push = new StatePushStore(storage, ['*'], 60);
    const url = 'https://hooks.example.com/';
    const listed = async () =>
      (
        await store.list(
          { tenant: '', contextId: 'c1', status: 0, pageToken: '', statusTimestampAfter: undefined },
          caller(),
        )
      ).tasks.map(({ id }) => id);
    await store.save(taskIn(WORKING), caller());
    clock.advance(59_999);
    await store.save(taskIn(COMPLETED), caller());
    await push.save('t1', caller(), { tenant: '', id: 'p', taskId: 't1', url, token: '', authentication: undefined });
    clock.advance(59_999);
    expect(await listed()).toEqual(['t1']);
    expect((await push.load('t1', caller())).map((config) => config.url)).toEqual([url]);
    clock.advance(1);
    expect([await store.load('t1', caller()), await listed(), await push.load('t1', caller())]).toEqual([
      undefined,
      [],
      [],
    ]);
    await store.close();
  });
});

describe('a task that was cancelled by way of another server', () => {
  it('stays so, however many chunks still come from the one that works on it', async () => {
    const clock = new TestClock();
    const storage = new MemoryStorage({ clock });
    const [store, other] = [new StateTaskStore(storage, { clock }), new StateTaskStore(storage, { clock })];
    const cancelled = TaskState.TASK_STATE_CANCELED;
    const seen = async (): Promise<(TaskState | undefined)[]> =>
      Promise.all([store, other].map(async (reader) => (await reader.load('t1', caller()))?.status?.state));
    await store.save(taskIn(WORKING), caller());
    await other.save(taskIn(cancelled), caller());
    for (let chunk = 0; chunk < 3; chunk++) {
      clock.advance(2_000);
      await store.save(taskIn(WORKING), caller());
      expect(await seen()).toEqual([cancelled, cancelled]);
    }
    await store.save(taskIn(COMPLETED), caller());
    expect(await seen()).toEqual([cancelled, cancelled]);
    // Another message is not about what was lost.
    await store.save(taskIn(WORKING), caller());
    expect(await seen()).toEqual([WORKING, WORKING]);
    await store.leave();
    await other.close();
  });
});

describe('a storage that fails when a task is written', () => {
  const down = new AgentUpError('STORAGE_UNAVAILABLE', 'down for the test');

  it('for the last time: its caller hears how it ended, and it is written when the storage is back', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const storage = new MemoryStorage();
    const [store, other] = [new StateTaskStore(storage), new StateTaskStore(storage)];
    await store.save(taskIn(WORKING), caller());
    const commit = vi.spyOn(storage, 'commit').mockRejectedValue(down);
    await store.save(taskIn(COMPLETED), caller());
    expect((await store.load('t1', caller()))?.status?.state).toBe(COMPLETED);
    expect((await other.load('t1', caller()))?.status?.state).toBe(WORKING);
    await vi.advanceTimersByTimeAsync(5_000);
    expect((await other.load('t1', caller()))?.status?.state).toBe(WORKING);
    commit.mockRestore();
    await vi.advanceTimersByTimeAsync(30_000);
    expect((await other.load('t1', caller()))?.status?.state).toBe(COMPLETED);
    await store.leave();
    await storage.close();
  });

  it('for the last time: a server that stops asks a storage that is down once, not once a task', async () => {
    const storage = new MemoryStorage();
    const store = new StateTaskStore(storage);
    const ids = ['t1', 't2', 't3'];
    for (const id of ids) await store.save(taskIn(WORKING, id), caller());
    const commit = vi.spyOn(storage, 'commit').mockRejectedValue(down);
    for (const id of ids) await store.save(taskIn(COMPLETED, id), caller());
    commit.mockClear();
    await store.leave();
    expect(commit.mock.calls.filter(([{ space }]) => space !== 'server')).toHaveLength(1);
    commit.mockRestore();
    await storage.close();
  });

  it('for the last time: what goes on with it elsewhere is not written over when the storage is back', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const storage = new MemoryStorage();
    const [store, other] = [new StateTaskStore(storage), new StateTaskStore(storage)];
    const endings: [string, TaskState][] = [
      ['answered', COMPLETED],
      ['asked', TaskState.TASK_STATE_INPUT_REQUIRED],
    ];
    for (const [id] of endings) await store.save(taskIn(WORKING, id), caller());
    const commit = vi.spyOn(storage, 'commit').mockRejectedValue(down);
    for (const [id] of endings) await store.save(taskIn(FAILED, id), caller());
    commit.mockRestore();
    for (const [id] of endings) await other.save(taskIn(WORKING, id), caller());
    await other.save(taskIn(TaskState.TASK_STATE_INPUT_REQUIRED, 'asked'), caller());
    await vi.advanceTimersByTimeAsync(60_000);
    await other.save(taskIn(COMPLETED, 'answered'), caller());
    for (const [id, state] of endings) {
      for (const reader of [store, other]) expect((await reader.load(id, caller()))?.status?.state, id).toBe(state);
    }
    await store.leave();
    await other.close();
  });

  it('for good: it is not at work for ever, neither here nor elsewhere', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const storage = new MemoryStorage();
    const [store, other] = [new StateTaskStore(storage), new StateTaskStore(storage)];
    await store.save(taskIn(WORKING), caller());
    const commit = vi.spyOn(storage, 'commit').mockRejectedValue(down);
    await store.save(taskIn(COMPLETED), caller());
    await vi.advanceTimersByTimeAsync(700_000);
    const tries = commit.mock.calls.length;
    await vi.advanceTimersByTimeAsync(700_000);
    expect(commit.mock.calls.length).toBe(tries);
    commit.mockRestore();
    expect(await store.load('t1', caller())).toMatchObject({ status: { state: FAILED } });
    await store.leave();
    expect(await other.load('t1', caller())).toMatchObject({ metadata: { code: 'INTERRUPTED' } });
    await storage.close();
  });

  it('while it works: the work goes on, and what comes next is written with it', async () => {
    const clock = new TestClock();
    const storage = new MemoryStorage({ clock });
    const [store, other] = [new StateTaskStore(storage, { clock }), new StateTaskStore(storage)];
    await store.save(taskIn(WORKING), caller());
    const commit = vi.spyOn(storage, 'commit').mockRejectedValue(down);
    clock.advance(2_000);
    await store.save({ ...taskIn(WORKING), metadata: { chunks: 1 } }, caller());
    expect((await store.load('t1', caller()))?.metadata).toEqual({ chunks: 1 });
    commit.mockRestore();
    await store.save({ ...taskIn(WORKING), metadata: { chunks: 2 } }, caller());
    expect((await other.load('t1', caller()))?.metadata).toEqual({ chunks: 2 });
    await store.close();
  });

  it('for the first time: its caller is told', async () => {
    const storage = new MemoryStorage();
    const store = new StateTaskStore(storage);
    vi.spyOn(storage, 'commit').mockRejectedValue(down);
    await expect(store.save(taskIn(WORKING), caller())).rejects.toBe(down);
    await expect(store.save(taskIn(FAILED), caller())).rejects.toBe(down);
    expect(await store.load('t1', caller())).toBeUndefined();
    await store.close();
  });
});
