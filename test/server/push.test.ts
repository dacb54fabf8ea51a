import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ServerCallContext } from '@a2a-js/sdk/server';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../../src/logger.js';
import { PushSender } from '../../src/server/a2a/push-sender.js';
import { StatePushStore } from '../../src/server/a2a/push-store.js';
import { openStorage } from '../../src/storage/open-storage.js';
import { a2aClient, isTask, request, say } from '../support/a2a-client.js';
import { serve } from './serving.js';

let hook: Server;
let url: string;
const received: { path: string | undefined; token: string | undefined; body: string }[] = [];

beforeEach(async () => {
  received.length = 0;
  hook = createServer(async (incoming, response) => {
    let body = '';
    for await (const chunk of incoming) body += chunk;
    received.push({ path: incoming.url, token: incoming.headers['authorization'], body });
    response.end();
  });
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(hook.address() as AddressInfo).port}/hook`;
});

afterEach(() => {
  hook.close();
});

const config = (taskId: string, target = url) => ({
  tenant: '',
  id: '',
  taskId,
  url: target,
  token: '',
  authentication: { scheme: 'Bearer', credentials: 'for-the-hook' },
});

describe('push notifications', () => {
  it('are kept with their task, sent to hosts that the configuration names, and taken back', async () => {
    await using serving = await serve({ server: { push_hosts: ['127.0.0.1'] } });
    const client = await a2aClient(serving.url);
    const asked = await say(client, 'pizza');
    if (!isTask(asked)) expect.fail('no task');
    const made = await client.createTaskPushNotificationConfig(config(asked.id));
    expect(made.id).not.toBe('');
    const query = { tenant: '', taskId: asked.id, pageSize: 0, pageToken: '' };
    expect((await client.listTaskPushNotificationConfig(query)).configs.map((one) => one.url)).toEqual([url]);
    await say(client, 'L', { taskId: asked.id, contextId: asked.contextId });
    await expect.poll(() => received.map(({ body }) => body).join('\n')).toContain('TASK_STATE_COMPLETED');
    expect(received[0]?.token).toBe('Bearer for-the-hook');
    await client.deleteTaskPushNotificationConfig({ tenant: '', taskId: asked.id, id: made.id });
    expect((await client.listTaskPushNotificationConfig(query)).configs).toEqual([]);
    // The task itself is as it was.
    expect((await client.getTask({ tenant: '', id: asked.id })).artifacts).toEqual([]);
  });

  it('follow no redirect, and what does not arrive is told to the log alone, without the secrets of an address', async () => {
    const printed = [vi.spyOn(console, 'error'), vi.spyOn(console, 'info'), vi.spyOn(console, 'warn')];
    hook.prependListener('request', (_incoming, response) => response.writeHead(307, { Location: `${url}-inside` }));
    await using serving = await serve({ server: { push_hosts: ['127.0.0.1'] } });
    const client = await a2aClient(serving.url);
    const asked = await say(client, 'pizza');
    if (!isTask(asked)) expect.fail('no task');
    await client.createTaskPushNotificationConfig(config(asked.id, `${url}?key=secret-of-the-hook`));
    await say(client, 'L', { taskId: asked.id, contextId: asked.contextId });
    const failed = `a notification of the task ${asked.id} did not reach 127.0.0.1:${new URL(url).port}`;
    await expect.poll(() => serving.logged.join('\n')).toContain(failed);
    expect(serving.logged.join('\n')).not.toMatch(/secret-of-the-hook|for-the-hook/);
    expect(received.every(({ path }) => path?.startsWith('/hook?'))).toBe(true);
    for (const print of printed) expect(print.mock.calls.flat().join('\n')).not.toMatch(/notification/i);
    vi.restoreAllMocks();
  });

  it('give up on whom they wait for too long, and go on with the next', async () => {
    const storage = await openStorage({ backend: 'memory' });
    const logged: string[] = [];
    const logger = { ...silentLogger, warn: (...args: unknown[]) => void logged.push(args.map(String).join(' ')) };
    const store = new StatePushStore(storage, ['127.0.0.1'], 60);
    const context = new ServerCallContext({});
    await store.save('t1', context, config('t1'));
    hook.removeAllListeners('request');
    let asked = 0;
    hook.on('request', (_incoming, response) => {
      if (++asked > 1) response.end();
    });
    const sender = new PushSender(store, logger, 400);
    const news = {
      payload: {
        $case: 'statusUpdate' as const,
        value: { taskId: 't1', contextId: 'c1', status: undefined, metadata: undefined },
      },
    };
    await Promise.all([sender.send(news, context), sender.send(news, context)]);
    hook.closeAllConnections();
    expect([asked, logged.length]).toEqual([2, 1]);
    expect(logged[0]).toContain('TimeoutError');
    await storage.close();
  });

  it('are given up, and that is logged, where the storage cannot say whom they are for', async () => {
    const storage = await openStorage({ backend: 'memory' });
    const logged: string[] = [];
    const logger = { ...silentLogger, warn: (...args: unknown[]) => void logged.push(args.map(String).join(' ')) };
    const sender = new PushSender(new StatePushStore(storage, ['127.0.0.1'], 60), logger);
    await storage.close();
    const value = { taskId: 't1', contextId: 'c1', status: undefined, metadata: undefined };
    await sender.send({ payload: { $case: 'statusUpdate', value } }, new ServerCallContext({}));
    expect(logged).toEqual([expect.stringMatching(/STORAGE_CLOSED|closed.*of the task t1 cannot be read/)]);
  });

  it('come with the message that makes the task', async () => {
    await using serving = await serve({ server: { push_hosts: ['127.0.0.1'] } });
    const client = await a2aClient(serving.url);
    const wanted = request('pizza');
    await client.sendMessage({
      ...wanted,
      configuration: {
        acceptedOutputModes: [],
        returnImmediately: false,
        taskPushNotificationConfig: config(''),
      },
    });
    await expect.poll(() => received.map(({ body }) => body).join('\n')).toContain('TASK_STATE_INPUT_REQUIRED');
  });

  it('go with a message that makes no task: that leaves nothing for good, and is no task', async () => {
    const api_keys = [{ key: 'the key of ana', user: 'ana' }];
    await using serving = await serve({
      server: { push_hosts: ['127.0.0.1'], task_ttl: 60 },
      security: { auth: 'api_key', api_keys },
    });
    const client = await a2aClient(serving.url, { headers: { 'X-API-Key': 'the key of ana' } });
    const configuration = { acceptedOutputModes: [], returnImmediately: false, taskPushNotificationConfig: config('') };
    await client.sendMessage({ ...request('count'), configuration });
    const { storage } = serving.server.agent.context;
    for await (const { expiresAt } of storage.list({ space: 'tasks', scope: ['user', 'ana'] })) {
      expect(expiresAt).toBeLessThanOrEqual(Date.now() + 60_000);
    }
    const query = { tenant: '', contextId: '', status: 0, pageToken: '', statusTimestampAfter: undefined };
    expect(await client.listTasks(query)).toMatchObject({ tasks: [], totalSize: 0 });
  });

  it('are refused where the log would have to tell the secret: in a url, and where it fits into no header', async () => {
    await using serving = await serve({ server: { push_hosts: ['127.0.0.1'] } });
    const client = await a2aClient(serving.url);
    const asked = await say(client, 'pizza');
    if (!isTask(asked)) expect.fail('no task');
    const secret = 'one\ntwo-of-the-hook';
    const refused = [
      config(asked.id, url.replace('//', '//ana:pass-of-the-hook@')),
      { ...config(asked.id), authentication: { scheme: 'Bearer', credentials: secret } },
      { ...config(asked.id), authentication: undefined, token: secret },
    ];
    for (const one of refused) {
      await expect(client.createTaskPushNotificationConfig(one)).rejects.toMatchObject({ reason: 'INVALID_PARAMS' });
    }
    await say(client, 'L', { taskId: asked.id, contextId: asked.contextId });
    expect(serving.logged.join('\n')).not.toContain('of-the-hook');
  });

  it('are refused to other hosts, and not offered where there are none', async () => {
    await using serving = await serve({ server: { push_hosts: ['hooks.example.com'] } });
    const client = await a2aClient(serving.url);
    const asked = await say(client, 'pizza');
    if (!isTask(asked)) expect.fail('no task');
    for (const target of [url, 'file:///etc/passwd', 'http://hooks.example.com.evil.example/', 'nonsense']) {
      await expect(client.createTaskPushNotificationConfig(config(asked.id, target))).rejects.toMatchObject({
        reason: 'INVALID_PARAMS',
      });
    }
    await using without = await serve();
    const other = await a2aClient(without.url);
    const made = await say(other, 'pizza');
    if (!isTask(made)) expect.fail('no task');
    await expect(async () => other.createTaskPushNotificationConfig(config(made.id))).rejects.toThrow(/supported/i);
  });
});
