import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { TaskState } from '@a2a-js/sdk';
import { LegacyJsonRpcTransport } from '@a2a-js/sdk/compat/v0_3/client';
import { Redis } from 'iovalkey';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { a2aClient, isTask, request, say, textIn } from '../support/a2a-client.js';
import { startValkey, type ValkeyServer } from '../support/index.js';
import { type LinkedProject, linkedProject } from '../support/linked-project.js';

const BIN = resolve(import.meta.dirname, '../../bin/agentup.js');
const SKILLS = `
import { inputRequired, withState } from 'agentup';
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

export const count = withState(async function count(task, context, id) {
  return String(await context.incrementVariable(id, 'n'));
});
export const pizza = withState(async function pizza(task, context, id) {
  if (!(await context.getVariable(id, 'asked'))) {
    await context.setVariable(id, 'asked', true);
    return inputRequired('Which size?');
  }
  return { size: task.text };
});
// Hangs as long as the file is there.
export const hang = withState(async function hang(task, context, id) {
  const runs = await context.incrementVariable(id, 'hung');
  console.error('hanging');
  while (existsSync('hang')) await delay(5);
  return 'hung ' + runs;
});
export const note = withState(async function note(task, context, id) {
  await context.addToHistory(id, 'user', task.text);
  return (await context.getHistory(id)).map(({ content }) => content).join();
});
// Forgets an await.
export const stray = withState(async function stray(task, context, id) {
  setTimeout(() => context.setVariable(id, 'late', true), 10);
  return 'gone';
});
`;

let valkey: ValkeyServer;
let project: LinkedProject;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  valkey = await startValkey();
});

afterAll(async () => {
  await valkey.stop();
});

beforeEach(async () => {
  project = await linkedProject();
});

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
  await project.remove();
});

interface Running {
  readonly url: string;
  readonly child: ChildProcess;
  /** Waits for a text on stderr. */
  said(text: string): Promise<void>;
  ended(): Promise<number | null>;
}

/** `agentup run` in the project. */
async function start(
  backend: string,
  args: readonly string[] = ['--port', '0'],
  server: ValkeyServer = valkey,
): Promise<Running> {
  const state =
    backend === 'valkey'
      ? `{ backend: valkey, url: "${server.url}", key_prefix: "${project.directory}:", lease: 2 }`
      : `{ backend: ${backend}, lease: 2 }`;
  const skills = ['count', 'pizza', 'hang', 'note', 'stray'].map(
    (id) => `  - { id: ${id}, handler: ./skills.mjs#${id}, keywords: [${id}] }`,
  );
  await project.write({
    'skills.mjs': SKILLS,
    'agent_config.yaml': `agent: { default_skill: count }\nskills:\n${skills.join('\n')}\nstate: ${state}\nserver: { stop_timeout: 2, push_hosts: [127.0.0.1] }\n`,
  });
  const child = spawn(process.execPath, [BIN, 'run', ...args], { cwd: project.directory, stdio: 'pipe' });
  children.add(child);
  let errors = '';
  child.stderr.on('data', (data) => {
    errors += data;
  });
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.done) expect.fail(`it ended with ${await ended}: ${errors}`);
  return {
    url: first.value,
    child,
    said: async (text) => expect.poll(() => errors, { timeout: 10_000 }).toContain(text),
    ended: () => ended,
  };
}

/** Leases of this project's processes end now: who cannot see a process waits a minute for its word. */
async function endLeases(): Promise<void> {
  const client = new Redis(valkey.url);
  const keys = (await client.keys('*:lease')).filter((key) => key.startsWith(project.directory));
  expect(keys).not.toEqual([]);
  await client.del(...keys);
  client.disconnect();
}

describe.each(['file', 'valkey'])('agentup run, on %s', (backend) => {
  it('remembers over a restart: conversations, open tasks, its own context ids', async () => {
    const first = await start(backend);
    const before = await a2aClient(first.url);
    const { contextId } = await say(before, 'count');
    const asked = await say(before, 'pizza', { contextId });
    if (!isTask(asked)) expect.fail('no task');
    first.child.kill('SIGTERM');
    expect(await first.ended()).toBe(0);
    const second = await start(backend);
    const after = await a2aClient(second.url);
    expect(textIn(await say(after, 'count', { contextId }))).toBe('2');
    expect((await after.getTask({ tenant: '', id: asked.id })).status?.state).toBe(TaskState.TASK_STATE_INPUT_REQUIRED);
    for await (const { payload } of after.resubscribeTask({ tenant: '', id: asked.id })) {
      expect(payload?.$case === 'task' && payload.value.id).toBe(asked.id);
    }
    expect(textIn(await say(after, 'L', { taskId: asked.id, contextId }))).toBe('{"size":"L"}');
    const left = await say(after, 'pizza');
    if (!isTask(left)) expect.fail('no task');
    const cancelled = await after.cancelTask({ tenant: '', id: left.id, metadata: undefined });
    expect(cancelled.status?.state).toBe(TaskState.TASK_STATE_CANCELED);
  });

  it('killed in a turn and started again, answers the message that is sent again, once', async () => {
    const first = await start(backend);
    const before = await a2aClient(first.url);
    const { contextId } = await say(before, 'count');
    await project.write({ hang: '' });
    const message = { contextId, messageId: 'm1' };
    const lost = say(before, 'hang', message).catch(() => 'lost');
    await first.said('hanging');
    first.child.kill('SIGKILL');
    expect(await lost).toBe('lost');
    await first.ended();
    const second = await start(backend);
    const after = await a2aClient(second.url);
    const again = [say(after, 'hang', message), say(after, 'hang', message)];
    await second.said('hanging');
    await rm(join(project.directory, 'hang'));
    // What the killed turn had changed is gone, and the one that counts ran once.
    expect((await Promise.all(again)).map(textIn)).toEqual(['hung 1', 'hung 1']);
    expect(textIn(await say(after, 'hang', message))).toBe('hung 1');
    expect(textIn(await say(after, 'count', { contextId }))).toBe('2');
  });

  it('killed in a task, is found out by another process, which answers the message that is sent again, once', async () => {
    const [first, second] = await Promise.all([start(backend), start(backend)]);
    const [before, after] = await Promise.all([a2aClient(first.url), a2aClient(second.url)]);
    const { contextId } = await say(before, 'count');
    await project.write({ hang: '' });
    const task = await say(before, 'hang', { contextId, messageId: 'm1', returnImmediately: true });
    if (!isTask(task)) expect.fail('no task');
    await first.said('hanging');
    const seen = async () => {
      const { status, metadata } = await after.getTask({ tenant: '', id: task.id });
      return [status?.state, metadata?.['code']];
    };
    expect(await seen()).toEqual([TaskState.TASK_STATE_WORKING, undefined]);
    first.child.kill('SIGKILL');
    await first.ended();
    if (backend === 'valkey') await endLeases();
    expect(await seen()).toEqual([TaskState.TASK_STATE_FAILED, 'INTERRUPTED']);
    const again = { contextId, messageId: 'm1', taskId: task.id };
    const answers = [say(after, 'hang', again), say(after, 'hang', again)];
    await second.said('hanging');
    await rm(join(project.directory, 'hang'));
    expect((await Promise.all(answers)).map(textIn)).toEqual(['hung 1', 'hung 1']);
    expect(await seen()).toEqual([TaskState.TASK_STATE_COMPLETED, undefined]);
  });

  it('in two processes on one storage, is one conversation: in order, with nothing lost', async () => {
    const servers = await Promise.all([start(backend), start(backend)]);
    const [here, there] = await Promise.all(servers.map(({ url }) => a2aClient(url)));
    if (!here || !there) expect.fail('no client');
    const { contextId } = await say(here, 'count');
    const said: string[] = [];
    for (let n = 0; n < 6; n++) {
      said.push(`note ${n}`);
      expect(textIn(await say(n % 2 === 0 ? here : there, `note ${n}`, { contextId }))).toBe(said.join());
    }
    // Both at once: each in the order of its own, none on top of another.
    const seen: string[][] = [];
    const chat = async (client: typeof here, name: string): Promise<void> => {
      for (let n = 0; n < 8; n++) {
        seen.push(textIn(await say(client, `note ${name}${n}`, { contextId })).split(','));
      }
    };
    await Promise.all([chat(here, 'a'), chat(there, 'b')]);
    const all = seen.sort((one, other) => one.length - other.length).at(-1) ?? [];
    expect(seen.map(({ length }) => length)).toEqual(Array.from({ length: 16 }, (_, n) => n + 7));
    for (const history of seen) expect(all.slice(0, history.length)).toEqual(history);
    for (const name of ['a', 'b']) {
      expect(all.filter((text) => text.startsWith(`note ${name}`))).toEqual(
        Array.from({ length: 8 }, (_, n) => `note ${name}${n}`),
      );
    }
  });

  it('told to stop, lets a running turn end, takes no new ones, and leaves no lease', async () => {
    const first = await start(backend);
    const client = await a2aClient(first.url);
    const { contextId } = await say(client, 'count');
    await project.write({ hang: '' });
    const running = say(client, 'hang', { contextId });
    await first.said('hanging');
    first.child.kill('SIGTERM');
    await first.said('stopping');
    await expect(say(client, 'count')).rejects.toThrow();
    await rm(join(project.directory, 'hang'));
    expect(textIn(await running)).toBe('hung 1');
    expect(await first.ended()).toBe(0);
    const second = await start(backend);
    const begin = performance.now();
    expect(textIn(await say(await a2aClient(second.url), 'count', { contextId }))).toBe('2');
    expect(performance.now() - begin).toBeLessThan(1500);
  });

  it('told to stop, sends the news of a task that nobody is connected for, and waits for it', async () => {
    const news: string[] = [];
    // It takes its time, so that the second waits for the first.
    const hook = createServer(async (incoming, response) => {
      for await (const chunk of incoming) news.push(/TASK_STATE_[A-Z]+/.exec(String(chunk))?.[0] ?? '');
      setTimeout(() => response.end(), 700);
    }).listen(0, '127.0.0.1');
    await once(hook, 'listening');
    const url = `http://127.0.0.1:${(hook.address() as AddressInfo).port}/hook`;
    const { url: address, child, ended, said } = await start(backend);
    await project.write({ hang: '' });
    const client = await a2aClient(address);
    const config = { tenant: '', id: '', taskId: '', url, token: '', authentication: undefined };
    await client.sendMessage({
      ...request('hang'),
      configuration: { acceptedOutputModes: [], returnImmediately: true, taskPushNotificationConfig: config },
    });
    await expect.poll(() => news).toEqual(['TASK_STATE_WORKING']);
    child.kill('SIGTERM');
    await said('stopping');
    await rm(join(project.directory, 'hang'));
    expect(await ended()).toBe(0);
    expect(news).toEqual(['TASK_STATE_WORKING', 'TASK_STATE_COMPLETED']);
    hook.close();
  });

  it('cancels a turn that does not end in time, gives its lease back, and still ends well', async () => {
    const first = await start(backend);
    const client = await a2aClient(first.url);
    const { contextId } = await say(client, 'count');
    await project.write({ hang: '' });
    const running = say(client, 'hang', { contextId });
    await first.said('hanging');
    first.child.kill('SIGTERM');
    const cancelled = await running;
    expect(isTask(cancelled) && cancelled.status?.state).toBe(TaskState.TASK_STATE_CANCELED);
    expect(await first.ended()).toBe(0);
    const second = await start(backend);
    const begin = performance.now();
    expect(textIn(await say(await a2aClient(second.url), 'count', { contextId }))).toBe('2');
    expect(performance.now() - begin).toBeLessThan(1500);
  });
});

describe('agentup run', () => {
  it('ends at once at the second signal', async () => {
    const running = await start('memory');
    const client = await a2aClient(running.url);
    await project.write({ hang: '' });
    const lost = say(client, 'hang').catch(() => 'lost');
    await running.said('hanging');
    running.child.kill('SIGINT');
    await running.said('stopping');
    running.child.kill('SIGINT');
    expect(await running.ended()).toBe(130);
    expect(await lost).toBe('lost');
  });

  it('outlives a promise that a handler forgot', async () => {
    const { url, said } = await start('memory');
    const client = await a2aClient(url);
    expect(textIn(await say(client, 'stray'))).toBe('gone');
    await said('is an await missing in a handler?');
    expect(textIn(await say(client, 'count'))).toBe('1');
  });

  it('says what is in the way when it cannot listen, or must not', async () => {
    const running = await start('memory');
    const { port } = new URL(running.url);
    const taken = await project.agentup(['run', '--port', port]);
    expect(taken).toMatchObject({ code: 1, stdout: '' });
    expect(taken.stderr).toContain('the port is in use');
    const open = await project.agentup(['run', '--host', '0.0.0.0', '--port', '0']);
    expect(open).toMatchObject({ code: 1, stdout: '' });
    expect(open.stderr).toContain('--allow-anonymous');
    expect(await project.agentup(['run', '--port', 'x'])).toMatchObject({ code: 2 });
    expect(await project.agentup(['run', '--config', 'none.yaml'])).toMatchObject({ code: 3 });
  });

  it('says so where the card names an address that nobody can call', async () => {
    const running = await start('memory', ['--port', '0', '--host', '0.0.0.0', '--allow-anonymous']);
    await running.said(`The card tells clients to call ${running.url}`);
    await running.said('set server.url');
  });

  it('serves a client of protocol 0.3', async () => {
    const running = await start('memory');
    const card = await (await fetch(`${running.url}/.well-known/agent-card.json`)).json();
    expect(card).toMatchObject({ protocolVersion: '0.3' });
    const transport = new LegacyJsonRpcTransport({ endpoint: (card as { url: string }).url });
    const first = await transport.sendMessage(request('count'));
    expect(textIn(first)).toBe('1');
    expect(textIn(await transport.sendMessage(request('count', { contextId: first.contextId })))).toBe('2');
  });

  it('tells whether it lives and whether it can work', async () => {
    const own = await startValkey();
    const running = await start('valkey', undefined, own);
    const ask = async (path: string) => {
      const answer = await fetch(`${running.url}${path}`);
      return [answer.status, await answer.json()];
    };
    expect(await ask('/healthz')).toEqual([200, { status: 'ok' }]);
    expect(await ask('/readyz')).toEqual([200, { status: 'ready' }]);
    await own.stop();
    expect(await ask('/healthz')).toEqual([200, { status: 'ok' }]);
    expect(await ask('/readyz')).toEqual([503, { status: 'storage unavailable' }]);
    const client = await a2aClient(running.url);
    const failed = await say(client, 'count').catch((error: Error) => error);
    expect(JSON.stringify(failed instanceof Error ? failed.message : failed)).toContain('The memory of this agent');
  });

  it('told to stop while its storage answers nothing, still tells who waits that it failed', async () => {
    const own = await startValkey();
    const running = await start('valkey', undefined, own);
    const client = await a2aClient(running.url);
    const { contextId } = await say(client, 'count');
    process.kill(own.pid, 'SIGSTOP');
    const failed = say(client, 'count', { contextId }).catch((error: Error) => error.message);
    await delay(300); // It has been let in, and waits for the storage.
    running.child.kill('SIGTERM');
    expect(JSON.stringify(await failed)).toContain('The memory of this agent');
    expect(await running.ended()).toBe(0);
    await own.stop();
  });
});
