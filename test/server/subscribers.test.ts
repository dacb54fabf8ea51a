import { getEventListeners } from 'node:events';
import { type StreamResponse, TaskState } from '@a2a-js/sdk';
import type { Client } from '@a2a-js/sdk/client';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { TaskBus } from '../../src/server/a2a/task-bus.js';
import { StateTaskStore } from '../../src/server/a2a/task-store.js';
import { a2aClient, request, textIn } from '../support/a2a-client.js';
import { serve } from './serving.js';
import { closeGate, shared } from './skills.js';

afterEach(() => {
  vi.restoreAllMocks();
});

interface Begun {
  readonly id: string;
  /** Reads the rest of it. */
  readonly ended: Promise<StreamResponse[]>;
}

/** A task, once its stream has said that it began. */
async function begin(client: Client, text: string): Promise<Begun> {
  const stream = client.sendMessageStream(request(text));
  const { value } = await stream.next();
  if (value?.payload?.$case !== 'task') return expect.fail('no task');
  const first = value;
  const rest = async (): Promise<StreamResponse[]> => {
    const all = [first];
    for await (const event of stream) all.push(event);
    return all;
  };
  return { id: value.payload.value.id, ended: rest() };
}

/** Listens to the end. */
async function follow(client: Client, id: string, told = (_event: StreamResponse) => {}): Promise<StreamResponse[]> {
  const all: StreamResponse[] = [];
  for await (const event of client.resubscribeTask({ tenant: '', id })) {
    all.push(event);
    told(event);
  }
  return all;
}

/** The texts of the artifact, as a reader puts them together. */
function heard(events: readonly StreamResponse[]): string {
  let text = '';
  for (const { payload } of events) {
    if (payload?.$case === 'task') text = payload.value.artifacts.length > 0 ? textIn(payload.value) : '';
    if (payload?.$case !== 'artifactUpdate') continue;
    const parts = payload.value.artifact?.parts.map(({ content }) => content?.value).join('') ?? '';
    text = payload.value.append ? text + parts : parts;
  }
  return text;
}

function lastState(events: readonly StreamResponse[]): TaskState | undefined {
  const payload = events.at(-1)?.payload;
  return payload?.$case === 'statusUpdate' || payload?.$case === 'task' ? payload.value.status?.state : undefined;
}

/** The buses on which something is said. */
function seenBuses(): Set<TaskBus> {
  const buses = new Set<TaskBus>();
  const { publish } = TaskBus.prototype;
  vi.spyOn(TaskBus.prototype, 'publish').mockImplementation(function (this: TaskBus, event) {
    buses.add(this);
    publish.call(this, event);
  });
  return buses;
}

const listeners = (buses: Iterable<TaskBus>): number =>
  [...buses].reduce((sum, bus) => sum + getEventListeners(bus, 'event').length, 0);

describe('many who listen to tasks', () => {
  it('all hear all of it in order, and leave nothing behind', async () => {
    const warned = vi.spyOn(process, 'emitWarning');
    const buses = seenBuses();
    await using serving = await serve({ security: { rate_limit: { requests: 0 } } });
    const client = await a2aClient(serving.url);
    closeGate();
    const tasks = await Promise.all(Array.from({ length: 10 }, () => begin(client, 'story')));
    let listening = 0;
    const count = () => void listening++;
    const all = tasks.flatMap(({ id }) => Array.from({ length: 12 }, () => follow(client, id, count)));
    await expect.poll(() => listening, { timeout: 10_000 }).toBeGreaterThanOrEqual(all.length);
    shared.open();
    for (const events of await Promise.all([...tasks.map(({ ended }) => ended), ...all])) {
      expect([heard(events), lastState(events)]).toEqual(['once upon', TaskState.TASK_STATE_COMPLETED]);
    }
    await expect.poll(() => listeners(buses)).toBe(0);
    expect(warned).not.toHaveBeenCalled();
  }, 30_000);

  it.each(['POST /a2a/jsonrpc', 'GET /a2a/rest'])(
    'are forgotten when they leave while nothing is said: %s',
    async (way) => {
      const buses = seenBuses();
      await using serving = await serve({ security: { rate_limit: { requests: 0 } } });
      const client = await a2aClient(serving.url);
      closeGate();
      const { id, ended } = await begin(client, 'story');
      const [method = '', path = ''] = way.split(' ');
      const call = { jsonrpc: '2.0', id: 1, method: 'SubscribeToTask', params: { id } };
      const before = listeners(buses);
      const leaving = new AbortController();
      const open = async () => {
        const response = await fetch(`${serving.url}${path}${method === 'GET' ? `/tasks/${id}:subscribe` : ''}`, {
          method,
          headers: { 'Content-Type': 'application/json', 'A2A-Version': '1.0' },
          ...(method === 'POST' && { body: JSON.stringify(call) }),
          signal: leaving.signal,
        });
        expect(response.headers.get('content-type')).toContain('text/event-stream');
      };
      await Promise.all(Array.from({ length: 20 }, open));
      expect(listeners(buses)).toBe(before + 20);
      leaving.abort();
      await expect.poll(() => listeners(buses)).toBe(before);
      shared.open();
      expect(heard(await ended)).toBe('once upon');
    },
  );

  it('hear how it ended when the server stops, all of them, within its bound', async () => {
    await using serving = await serve({ server: { stop_timeout: 1 }, security: { rate_limit: { requests: 0 } } });
    const client = await a2aClient(serving.url);
    closeGate();
    const { id, ended } = await begin(client, 'story');
    let listening = 0;
    const count = () => void listening++;
    const all = Array.from({ length: 20 }, () => follow(client, id, count));
    await expect.poll(() => listening).toBeGreaterThanOrEqual(all.length);
    const before = performance.now();
    expect(await serving.server.stop()).toBe(1);
    expect(performance.now() - before).toBeLessThan(4000);
    for (const events of await Promise.all([ended, ...all])) {
      expect([heard(events), lastState(events)]).toEqual(['once ', TaskState.TASK_STATE_CANCELED]);
    }
    shared.open();
  });

  it('miss nothing that was said while the storage was slow to take it', async () => {
    const { save } = StateTaskStore.prototype;
    await using serving = await serve();
    const client = await a2aClient(serving.url);
    let go = (): void => {};
    const slow = new Promise<void>((resolve) => {
      go = resolve;
    });
    let saves = 0;
    vi.spyOn(StateTaskStore.prototype, 'save').mockImplementation(async function (this: StateTaskStore, ...args) {
      if (++saves > 1) await slow;
      return save.apply(this, args);
    });
    closeGate();
    const { id, ended } = await begin(client, 'story');
    await expect.poll(() => saves).toBe(2);
    let told = 0;
    const followed = follow(client, id, () => void told++);
    await expect.poll(() => told).toBe(1);
    shared.open();
    go();
    expect(heard(await ended)).toBe('once upon');
    const events = await followed;
    expect([heard(events), lastState(events)]).toEqual(['once upon', TaskState.TASK_STATE_COMPLETED]);
    const kept = await client.getTask({ tenant: '', id });
    expect(textIn(kept)).toBe('once upon');
  });
});
