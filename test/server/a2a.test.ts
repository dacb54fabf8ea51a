import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Task, TaskState } from '@a2a-js/sdk';
import { ServerCallContext } from '@a2a-js/sdk/server';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { StateConfigInput } from '../../src/config/index.js';
import { StateTaskStore } from '../../src/server/a2a/task-store.js';
import { a2aClient, isTask, request, say, textIn, textPart } from '../support/a2a-client.js';
import { startValkey, type ValkeyServer } from '../support/index.js';
import { serve } from './serving.js';
import { closeGate, shared } from './skills.js';

let valkey: ValkeyServer;
let directory: string;
let runs = 0;

beforeAll(async () => {
  valkey = await startValkey();
  directory = await mkdtemp(join(tmpdir(), 'agentup-a2a-'));
});

afterAll(async () => {
  await valkey.stop();
  await rm(directory, { recursive: true, force: true });
});

function stateOf(backend: 'memory' | 'file' | 'valkey'): StateConfigInput {
  const run = `run${runs++}`;
  if (backend === 'valkey') return { backend, url: valkey.url, key_prefix: `${run}:` };
  return backend === 'file' ? { backend, storage_dir: join(directory, run) } : { backend };
}

const task = (result: Awaited<ReturnType<typeof say>>): Task => {
  if (!isTask(result)) expect.fail(`a message: ${textIn(result)}`);
  return result;
};

describe.each(['memory', 'file', 'valkey'] as const)('an agent over A2A, on %s', (backend) => {
  it('gives a conversation an id, remembers under it, and keeps others apart', async () => {
    await using serving = await serve({ state: stateOf(backend) });
    const client = await a2aClient(serving.url);
    const first = await say(client, 'count');
    expect(textIn(first)).toBe('1 nobody');
    expect(first.contextId).toMatch(/^[\w-]{22}\.[\w-]{16}$/);
    expect(textIn(await say(client, 'count', { contextId: first.contextId }))).toBe('2 nobody');
    expect(textIn(await say(client, 'count'))).toBe('1 nobody');
    // What another restart of the same agent made is known as well.
    await expect(say(client, 'count', { contextId: 'mine' })).rejects.toMatchObject({ reason: 'INVALID_PARAMS' });
    const forged = `${first.contextId.slice(0, -1)}${first.contextId.endsWith('A') ? 'B' : 'A'}`;
    await expect(say(client, 'count', { contextId: forged })).rejects.toMatchObject({ reason: 'INVALID_PARAMS' });
  });

  it('runs three messages sent at once one after the other, in their order', async () => {
    await using serving = await serve({ state: stateOf(backend) });
    const client = await a2aClient(serving.url);
    const { contextId } = await say(client, 'count');
    const replies = await Promise.all(['a', 'b', 'c'].map((letter) => say(client, `slow ${letter}`, { contextId })));
    expect(replies.map(textIn)).toEqual(['a', 'ab', 'abc']);
  });

  it('asks back, and goes on with the same task and the skill that asked', async () => {
    await using serving = await serve({ state: stateOf(backend) });
    const client = await a2aClient(serving.url);
    const asked = task(await say(client, 'pizza'));
    expect(asked.status?.state).toBe(TaskState.TASK_STATE_INPUT_REQUIRED);
    expect(textIn(asked)).toBe('Which size?["S","L"]');
    const done = task(await say(client, 'L', { taskId: asked.id, contextId: asked.contextId }));
    expect([done.id, done.status?.state, textIn(done)]).toEqual([
      asked.id,
      TaskState.TASK_STATE_COMPLETED,
      '{"size":"L"}',
    ]);
    expect(done.history.map(({ parts }) => textIn({ parts } as never))).toEqual([
      'pizza',
      'Which size?["S","L"]',
      'L',
      '{"size":"L"}',
    ]);
    const other = await say(client, 'count');
    const wrong = { taskId: asked.id, contextId: other.contextId };
    await expect(say(client, 'M', wrong)).rejects.toThrow();
    await expect(say(client, 'M', { taskId: 'no-such-task', contextId: asked.contextId })).rejects.toMatchObject({
      reason: 'TASK_NOT_FOUND',
    });
  });

  it('answers a redelivered question with the task of then', async () => {
    await using serving = await serve({ state: stateOf(backend) });
    const client = await a2aClient(serving.url);
    const { contextId } = await say(client, 'count');
    const first = task(await say(client, 'pizza', { contextId, messageId: 'm1' }));
    const again = task(await say(client, 'pizza', { contextId, messageId: 'm1' }));
    expect([again.id, again.status?.state, textIn(again)]).toEqual([first.id, first.status?.state, textIn(first)]);
    expect((await client.listTasks({ ...LIST, contextId })).totalSize).toBe(1);
    const done = task(await say(client, 'S', { taskId: again.id, contextId }));
    expect(textIn(done)).toBe('{"size":"S"}');
  });

  it('asks again where the server died before the task of a question was written', async () => {
    await using serving = await serve({ state: stateOf(backend) });
    const client = await a2aClient(serving.url);
    const { contextId } = await say(client, 'count');
    const first = task(await say(client, 'pizza', { contextId, messageId: 'm1' }));
    const tasks = new StateTaskStore(serving.server.agent.context.storage);
    const anybody = new ServerCallContext({});
    const { metadata: _, ...left } = (await tasks.load(first.id, anybody)) ?? expect.fail('no task');
    const status = { state: TaskState.TASK_STATE_WORKING, message: undefined, timestamp: undefined };
    await tasks.save({ ...left, metadata: undefined, status }, anybody);
    const again = task(await say(client, 'pizza', { contextId, messageId: 'm1' }));
    expect([again.id, again.status?.state]).toEqual([first.id, TaskState.TASK_STATE_INPUT_REQUIRED]);
    expect(textIn(again)).toBe(textIn(first));
    // The words would lead to another skill than the one that asked.
    expect(textIn(await say(client, 'count', { taskId: first.id, contextId }))).toBe('{"size":"count"}');
  });

  it('handles a redelivered message once', async () => {
    await using serving = await serve({ state: stateOf(backend) });
    const client = await a2aClient(serving.url);
    const { contextId } = await say(client, 'count');
    const message = { contextId, messageId: 'again' };
    const replies = await Promise.all([1, 2, 3].map(() => say(client, 'count', message)));
    expect(replies.map(textIn)).toEqual(['2 nobody', '2 nobody', '2 nobody']);
    expect(textIn(await say(client, 'count', { contextId }))).toBe('3 nobody');
  });

  it('streams chunks as they come, into an artifact of a task', async () => {
    await using serving = await serve({ state: stateOf(backend) });
    const client = await a2aClient(serving.url);
    closeGate();
    const seen: string[] = [];
    let id = '';
    for await (const { payload } of client.sendMessageStream(request('story'))) {
      if (payload?.$case === 'task') id = payload.value.id;
      if (payload?.$case === 'artifactUpdate') {
        seen.push(textIn({ parts: payload.value.artifact?.parts ?? [] } as never));
        // Only when this has arrived does the handler go on.
        shared.open();
      }
      if (payload?.$case === 'statusUpdate') seen.push(TaskState[payload.value.status?.state ?? 0] ?? '');
    }
    expect(seen).toEqual(['once ', 'upon', 'TASK_STATE_COMPLETED']);
    const stored = await client.getTask({ tenant: '', id });
    // It is said once.
    expect(stored.status?.message).toBeUndefined();
    expect(stored.artifacts.map(({ parts }) => parts.map((part) => textIn({ parts: [part] } as never)))).toEqual([
      ['once upon'],
    ]);
  });

  it('tells a failure in a safe sentence, and the log the rest', async () => {
    await using serving = await serve({ state: stateOf(backend) });
    const client = await a2aClient(serving.url);
    const failed = task(await say(client, 'boom'));
    expect(failed.status?.state).toBe(TaskState.TASK_STATE_FAILED);
    expect(textIn(failed)).toBe('The agent could not handle this message.');
    expect(JSON.stringify(failed)).not.toMatch(/secret|passwd|\.ts/);
    expect(serving.logged.join('\n')).toContain('secret: /etc/passwd');
    const story = task(await say(client, 'story fail', { contextId: failed.contextId }));
    expect(story.status?.state).toBe(TaskState.TASK_STATE_FAILED);
    expect(JSON.stringify(story)).not.toMatch(/secret/);
    expect(textIn(await say(client, 'count', { contextId: failed.contextId }))).toBe('1 nobody');
  });

  it('cancels a running turn: nothing of it is kept, and the conversation is free', async () => {
    await using serving = await serve({ state: stateOf(backend) });
    const client = await a2aClient(serving.url);
    const { contextId } = await say(client, 'count');
    closeGate();
    const started = task(await say(client, 'hang', { contextId, returnImmediately: true }));
    expect(started.status?.state).toBe(TaskState.TASK_STATE_WORKING);
    await expect.poll(() => shared.log).toContain(`hang ${contextId}`);
    const cancelled = await client.cancelTask({ tenant: '', id: started.id, metadata: undefined });
    expect(cancelled.status?.state).toBe(TaskState.TASK_STATE_CANCELED);
    expect(textIn(await say(client, 'count', { contextId }))).toBe('2 nobody');
    shared.open();
    expect((await client.getTask({ tenant: '', id: started.id })).status?.state).toBe(TaskState.TASK_STATE_CANCELED);
    await expect(client.cancelTask({ tenant: '', id: 'none', metadata: undefined })).rejects.toMatchObject({
      reason: 'TASK_NOT_FOUND',
    });
  });

  it('cancels a message that waits for its turn: it is not handled, and those behind it are', async () => {
    await using serving = await serve({ state: stateOf(backend) });
    const client = await a2aClient(serving.url);
    closeGate();
    const { id, contextId } = task(await say(client, 'hang', { returnImmediately: true }));
    await expect.poll(() => shared.log).toContain(`hang ${contextId}`);
    const waiting = task(await say(client, 'count', { contextId, returnImmediately: true }));
    const behind = say(client, 'count', { contextId });
    // The gate stays closed: it is answered while the turn before still runs.
    const cancelled = await client.cancelTask({ tenant: '', id: waiting.id, metadata: undefined });
    expect(cancelled.status?.state).toBe(TaskState.TASK_STATE_CANCELED);
    expect((await client.getTask({ tenant: '', id })).status?.state).toBe(TaskState.TASK_STATE_WORKING);
    shared.open();
    expect(textIn(await behind)).toBe('1 nobody');
    expect((await client.getTask({ tenant: '', id: waiting.id })).status?.state).toBe(TaskState.TASK_STATE_CANCELED);
  });

  it('lists the tasks of a conversation by page, the newest first; to nobody in particular no others', async () => {
    await using serving = await serve({ state: stateOf(backend) });
    const client = await a2aClient(serving.url);
    const { contextId } = await say(client, 'count');
    const made: string[] = [];
    for (let n = 0; n < 5; n++) made.unshift(task(await say(client, 'boom', { contextId })).id);
    await say(client, 'boom');
    const ids: string[] = [];
    for (let pageToken = ''; ; ) {
      const page = await client.listTasks({ ...LIST, contextId, pageSize: 2, pageToken });
      expect(page.totalSize).toBe(5);
      ids.push(...page.tasks.map(({ id }) => id));
      pageToken = page.nextPageToken;
      if (pageToken === '') break;
    }
    expect(ids).toEqual(made);
    const completed = await client.listTasks({ ...LIST, contextId, status: TaskState.TASK_STATE_COMPLETED });
    expect(completed.tasks).toEqual([]);
    expect((await client.listTasks(LIST)).tasks).toEqual([]);
    await expect(client.listTasks({ ...LIST, contextId, pageToken: 'x' })).rejects.toMatchObject({
      reason: 'INVALID_PARAMS',
    });
  });

  it('takes files and data, and refuses more than it should', async () => {
    await using serving = await serve({
      state: stateOf(backend),
      server: { body_limit: 100_000, parts_limit: 3 },
      security: { context_ids: 'client' },
    });
    const client = await a2aClient(serving.url);
    const bytes = Buffer.alloc(1000, 7);
    const file = {
      content: { $case: 'raw' as const, value: bytes },
      metadata: undefined,
      filename: 'a',
      mediaType: '',
    };
    const data = {
      content: { $case: 'data' as const, value: { a: 1 } },
      metadata: undefined,
      filename: '',
      mediaType: '',
    };
    const parts = [textPart('echo'), file, data];
    expect(textIn(await say(client, '', { parts }))).toBe('{"parts":["text","file","data"],"bytes":1000,"name":"a"}');
    await expect(say(client, '', { parts: [...parts, data] })).rejects.toMatchObject({ reason: 'INVALID_PARAMS' });
    const wanted = request('count');
    const about = wanted.message && { ...wanted.message, referenceTaskIds: ['t1', 't2', 't3', 't4'] };
    await expect(client.sendMessage({ ...wanted, message: about })).rejects.toMatchObject({ reason: 'INVALID_PARAMS' });
    await expect(say(client, 'count '.repeat(20_000))).rejects.toThrow(/413|larger/);
    const printed = vi.spyOn(console, 'error');
    for (const contextId of ['c'.repeat(2000), '\ud800']) {
      await expect(say(client, 'count', { contextId })).rejects.toThrow(/larger|not one/);
    }
    for (const messageId of ['\ud800', `${'m'.repeat(2000)}\ud800`]) {
      await expect(say(client, 'count', { messageId })).rejects.toMatchObject({ reason: 'INVALID_PARAMS' });
    }
    await expect(client.getTask({ tenant: '', id: 't'.repeat(2000) })).rejects.toThrow(/larger/);
    expect(printed).not.toHaveBeenCalled();
    printed.mockRestore();
    expect(serving.logged, "a caller's mistake is none of the server").toEqual([]);
  });

  it('speaks HTTP+JSON as well', async () => {
    await using serving = await serve({ state: stateOf(backend) });
    const client = await a2aClient(serving.url, { transport: 'rest' });
    const { contextId } = await say(client, 'count');
    expect(textIn(await say(client, 'count', { contextId }))).toBe('2 nobody');
    const asked = task(await say(client, 'pizza', { contextId }));
    expect((await client.getTask({ tenant: '', id: asked.id })).status?.state).toBe(
      TaskState.TASK_STATE_INPUT_REQUIRED,
    );
    const seen: string[] = [];
    for await (const { payload } of client.sendMessageStream(request('story', { contextId }))) {
      if (payload) seen.push(payload.$case);
    }
    expect(seen).toEqual(['task', 'artifactUpdate', 'artifactUpdate', 'statusUpdate']);
    const refused = await fetch(`${serving.url}/a2a/rest/tasks/none`, { headers: { 'A2A-Version': '1.0' } });
    expect(refused.status).toBe(404);
  });
});

it('keeps idle connections longer than load balancers do', async () => {
  await using serving = await serve({ state: stateOf('memory') });
  const { headers } = await fetch(`${serving.url}/healthz`);
  expect(headers.get('keep-alive')).toBe('timeout=65');
});

it('tells who asks by hand, and names no version of the protocol, what is missing', async () => {
  await using serving = await serve({ state: stateOf('memory') });
  const ask = async (method: string, headers: Record<string, string> = {}) => {
    const answer = await fetch(`${serving.url}/a2a/jsonrpc`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: {} }),
    });
    return ((await answer.json()) as { error: { code: number; message: string } }).error;
  };
  expect(await ask('SendMessage')).toMatchObject({
    code: -32601,
    message: expect.stringMatching(/need the header "A2A-Version: 1.0"$/),
  });
  expect((await ask('no/such')).message).not.toContain('header');
  expect((await ask('NoSuch', { 'A2A-Version': '1.0' })).message).not.toContain('header');
});

describe('messages that go on with a task', () => {
  it('are counted with their conversation, by its id or only by that of the task', async () => {
    await using serving = await serve({ state: { ...stateOf('valkey'), queue: 2 } });
    const client = await a2aClient(serving.url);
    const { id: taskId, contextId } = task(await say(client, 'pizza'));
    closeGate();
    const first = say(client, 'hang', { contextId });
    await expect.poll(() => shared.log).toContain(`hang ${contextId}`);
    const second = say(client, 'L', { taskId, returnImmediately: true });
    expect(task(await second).status?.state).toBe(TaskState.TASK_STATE_WORKING);
    const busy = 'This conversation is busy. Try again later.';
    await expect(say(client, 'XL', { taskId })).rejects.toThrow(busy);
    await expect(say(client, 'XL', { taskId, contextId })).rejects.toThrow(busy);
    await expect(say(client, 'count', { contextId })).rejects.toThrow(busy);
    await expect(say(client, 'XL', { taskId: 'none' })).rejects.toMatchObject({ reason: 'TASK_NOT_FOUND' });
    shared.open();
    await first;
    await expect
      .poll(async () => (await client.getTask({ tenant: '', id: taskId })).status?.message?.parts[0]?.content?.value)
      .toEqual({ size: 'L' });
    expect(textIn(await say(client, 'count', { contextId }))).toBe('1 nobody');
  });

  it('are refused while it is worked on for another: each would be told the answer to that', async () => {
    await using serving = await serve();
    const client = await a2aClient(serving.url);
    closeGate();
    const { id: taskId, contextId } = task(await say(client, 'story', { messageId: 'm1', returnImmediately: true }));
    const busy = 'This conversation is busy. Try again later.';
    await expect(say(client, 'count', { taskId })).rejects.toThrow(busy);
    const again = say(client, 'story', { messageId: 'm1', taskId });
    await expect.poll(async () => (await client.getTask({ tenant: '', id: taskId })).history.length).toBe(2);
    shared.open();
    expect(task(await again)).toMatchObject({ id: taskId, status: { state: TaskState.TASK_STATE_COMPLETED } });
    expect(textIn(await say(client, 'count', { contextId }))).toBe('1 nobody');

    const { id: asked } = task(await say(client, 'pizza', { contextId }));
    closeGate();
    const before = say(client, 'hang', { contextId });
    await expect.poll(() => shared.log).toContain(`hang ${contextId}`);
    const answer = say(client, 'L', { taskId: asked });
    await expect.poll(async () => (await client.getTask({ tenant: '', id: asked })).history.length).toBe(3);
    await expect(say(client, 'XL', { taskId: asked })).rejects.toThrow(busy);
    shared.open();
    await before;
    expect(textIn(await answer)).toBe('{"size":"L"}');
  });

  it('are all cancelled with it, also where one was sent twice', async () => {
    await using serving = await serve();
    const client = await a2aClient(serving.url);
    closeGate();
    const { id, contextId } = task(await say(client, 'hang', { messageId: 'm1', returnImmediately: true }));
    await expect.poll(() => shared.log).toContain(`hang ${contextId}`);
    const again = say(client, 'hang', { messageId: 'm1', taskId: id });
    await expect.poll(async () => (await client.getTask({ tenant: '', id })).history.length).toBe(2);
    const cancelled = await client.cancelTask({ tenant: '', id, metadata: undefined });
    expect(cancelled.status?.state).toBe(TaskState.TASK_STATE_CANCELED);
    expect(task(await again).status?.state).toBe(TaskState.TASK_STATE_CANCELED);
    shared.open();
    expect(await serving.server.agent.context.getVariable(contextId, 'hung')).toBeUndefined();
  });

  it('are not overtaken by those that come after them', async () => {
    await using serving = await serve({ state: stateOf('valkey') });
    const { id: taskId, contextId } = task(await say(await a2aClient(serving.url), 'pizza'));
    // On one connection, so that they arrive in this order.
    const rpc = (text: string, more: object): string => {
      const message = { messageId: text, role: 'ROLE_USER', parts: [{ text }], ...more };
      const body = JSON.stringify({ jsonrpc: '2.0', id: text, method: 'SendMessage', params: { message } });
      const head = ['POST /a2a/jsonrpc HTTP/1.1', `Host: 127.0.0.1:${serving.port}`, 'A2A-Version: 1.0'];
      head.push('Content-Type: application/json', `Content-Length: ${body.length}`);
      return `${head.join('\r\n')}\r\n\r\n${body}`;
    };
    const socket = connect(Number(serving.port), '127.0.0.1');
    let answers = '';
    socket.on('data', (data) => {
      answers += data;
    });
    socket.write(rpc('XXL', { taskId, contextId }) + rpc('pizza again', { contextId }));
    await expect.poll(() => answers.split('HTTP/1.1 200').length).toBe(3);
    socket.destroy();
    const [, answered = '', asked = ''] = answers.split('HTTP/1.1 200');
    expect([answered, asked]).toEqual([
      expect.stringContaining('"size":"XXL"'),
      expect.stringContaining('Which size?'),
    ]);
  });
});

describe.each(['file', 'valkey'] as const)('two servers over one storage, on %s', (backend) => {
  it('ends a turn whose task was cancelled by way of another server', async () => {
    const state = stateOf(backend);
    await using here = await serve({ state });
    await using there = await serve({ state });
    const client = await a2aClient(here.url);
    closeGate();
    const begun = task(await say(client, 'hang', { returnImmediately: true }));
    const { id, contextId } = begun;
    await expect.poll(() => shared.log).toContain(`hang ${contextId}`);
    const other = await a2aClient(there.url);
    await other.cancelTask({ tenant: '', id, metadata: undefined });
    // The gate stays closed: only the cancellation can have let the next message in.
    expect(textIn(await say(client, 'count', { contextId }))).toBe('1 nobody');
    for (const one of [client, other]) {
      expect((await one.getTask({ tenant: '', id })).status?.state).toBe(TaskState.TASK_STATE_CANCELED);
    }
    expect(await here.server.agent.context.getVariable(contextId, 'hung')).toBeUndefined();
    shared.open();
  });
});

describe.each(['file', 'valkey'] as const)('a message that waits for a turn of another server, on %s', (backend) => {
  it('is cancelled by way of either', async () => {
    const state = stateOf(backend);
    await using here = await serve({ state });
    await using there = await serve({ state });
    const [client, other] = [await a2aClient(here.url), await a2aClient(there.url)];
    closeGate();
    const { contextId } = task(await say(client, 'hang', { returnImmediately: true }));
    await expect.poll(() => shared.log).toContain(`hang ${contextId}`);
    for (const one of [other, client]) {
      const { id } = task(await say(other, 'count', { contextId, returnImmediately: true }));
      await one.cancelTask({ tenant: '', id, metadata: undefined });
      await expect
        .poll(async () => (await other.getTask({ tenant: '', id })).status?.state)
        .toBe(TaskState.TASK_STATE_CANCELED);
    }
    shared.open();
    expect(textIn(await say(other, 'count', { contextId }))).toBe('1 nobody');
  });
});

const LIST = {
  tenant: '',
  contextId: '',
  status: TaskState.TASK_STATE_UNSPECIFIED,
  pageToken: '',
  statusTimestampAfter: undefined,
};
