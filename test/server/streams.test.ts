import { TaskState } from '@a2a-js/sdk';
import { describe, expect, it } from 'vitest';
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
});
