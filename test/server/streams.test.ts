import { once } from 'node:events';
import { createServer, ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { SendMessageRequest, TaskState } from '@a2a-js/sdk';
import { describe, expect, it, vi } from 'vitest';
import { a2aClient, isTask, request, say } from '../support/a2a-client.js';
import { serve } from './serving.js';
import { closeGate, shared } from './skills.js';

const CHUNKS = 10_000;

describe('a stream over A2A', () => {
  it('may be ten thousand chunks that come at once, while others are served', async () => {
    await using serving = await serve();
    const client = await a2aClient(serving.url);
    let streamed = true;
    const flood = say(client, `flood ${CHUNKS}`).finally(() => {
      streamed = false;
    });
    let served = 0;
    while (streamed) {
      await fetch(`${serving.url}/healthz`);
      served++;
    }
    const task = await flood;
    if (!isTask(task)) expect.fail('no task');
    const parts = task.artifacts[0]?.parts.map(({ content }) => content?.value);
    expect(parts).toEqual([Array.from({ length: CHUNKS }, (_, n) => `${n} `).join('')]);
    expect(served).toBeGreaterThan(5);
  }, 30_000);

  it('goes on when its reader leaves: its task can be asked for, and what it kept is kept', async () => {
    await using serving = await serve();
    const client = await a2aClient(serving.url);
    closeGate();
    const stream = client.sendMessageStream(request('story'));
    let id = '';
    let contextId = '';
    for await (const { payload } of stream) {
      if (payload?.$case === 'task') ({ id, contextId } = payload.value);
      if (payload?.$case === 'artifactUpdate') break;
    }
    shared.open();
    const state = async () => (await client.getTask({ tenant: '', id })).status?.state;
    await expect.poll(state).toBe(TaskState.TASK_STATE_COMPLETED);
    expect(await serving.server.agent.context.getVariable(contextId, 'stories')).toBe(1);
  });

  it.each(['listen()', 'a server around the application'])(
    'stays open while nothing is said on it; who takes nothing of what waits for him is cut off: %s',
    async (way) => {
      const { setTimeout: original } = ServerResponse.prototype;
      const served: { ms: number; socket: Socket | null }[] = [];
      vi.spyOn(ServerResponse.prototype, 'setTimeout').mockImplementation(function (this: ServerResponse, ms, ...rest) {
        served.push({ ms, socket: this.socket });
        return original.call(this, 200, ...rest);
      });
      await using serving = await serve();
      const around = createServer(serving.server.app).listen(0, '127.0.0.1');
      await once(around, 'listening');
      const port = way === 'listen()' ? serving.server.port : (around.address() as AddressInfo).port;
      const call = (method: string, params: object): string => {
        const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
        const head = ['POST /a2a/jsonrpc HTTP/1.1', 'Host: 127.0.0.1', 'Content-Type: application/json'];
        return `${head.join('\r\n')}\r\nA2A-Version: 1.0\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
      };
      const quiet = connect(port, '127.0.0.1').setEncoding('utf8');
      let said = '';
      quiet.on('data', (text) => {
        said += text;
      });
      closeGate();
      quiet.write(call('SendStreamingMessage', SendMessageRequest.toJSON(request('story')) as object));
      await expect.poll(() => said).toContain('once ');
      const large = await say(await a2aClient(serving.url), `pizza ${'x'.repeat(1_000_000)}`);
      const before = served.length;
      const reader = connect(port, '127.0.0.1');
      reader.write(call('GetTask', { id: isTask(large) && large.id }).repeat(30));
      await expect.poll(() => served[before]?.socket?.destroyed, { timeout: 10_000 }).toBe(true);
      reader.destroy();
      shared.open();
      await expect.poll(() => said).toContain('TASK_STATE_COMPLETED');
      quiet.destroy();
      expect(new Set(served.map(({ ms }) => ms))).toEqual(new Set([60_000]));
      vi.restoreAllMocks();
      around.close();
    },
  );
});
