import type { StreamResponse, Task } from '@a2a-js/sdk';
import {
  type AgentExecutionEvent,
  DefaultExecutionEventBus,
  type ExecutionEventBus,
  type ExecutionEventBusManager,
  ServerCallContext,
} from '@a2a-js/sdk/server';
import { Caller, scopeOf } from './caller.js';
import { type Said, TaskBus } from './task-bus.js';
import { nameOf, taskKey } from './task-keys.js';

const SUBSCRIPTION = 'agentup.subscription';

type Stream = AsyncGenerator<StreamResponse, void, undefined>;

/** The buses of the tasks that are worked on here. */
export class TaskBuses implements ExecutionEventBusManager {
  readonly #all = new Map<string, TaskBus>();

  createOrGetByTaskId(taskId: string, context?: ServerCallContext): ExecutionEventBus {
    const name = nameIn(context, taskId);
    const bus = this.#all.get(name) ?? new TaskBus(taskId);
    this.#all.set(name, bus);
    return bus;
  }

  getByTaskId(taskId: string, context?: ServerCallContext): ExecutionEventBus | undefined {
    const bus = this.#all.get(nameIn(context, taskId));
    const subscription = context?.state.get(SUBSCRIPTION);
    return bus && subscription instanceof Subscription ? subscription.to(bus) : bus;
  }

  cleanupByTaskId(taskId: string, context?: ServerCallContext): void {
    const name = nameIn(context, taskId);
    this.#all.get(name)?.removeAllListeners();
    this.#all.delete(name);
  }
}

/**
 * What the SDK tells somebody who listens to a task, on one of our buses. It tells first what the store has, which may
 * be behind what has been said while that is being written, and then what is said from there on; and it never hears
 * of a connection that ends. Here nothing is lost in between, and who is gone is forgotten at once.
 */
export async function* subscribed(context: ServerCallContext, listen: () => Stream): Stream {
  const response = context.user instanceof Caller ? context.user.response : undefined;
  if (response?.destroyed) return;
  const subscription = new Subscription();
  context.state.set(SUBSCRIPTION, subscription);
  response?.once('close', subscription.end);
  try {
    for await (const event of listen()) {
      const { payload } = event;
      yield payload?.$case === 'task'
        ? { payload: { ...payload, value: subscription.withSaid(payload.value) } }
        : event;
    }
  } finally {
    response?.off('close', subscription.end);
    subscription.end();
  }
}

/** A bus for one who listens, which ends when they leave. */
class Subscription {
  readonly #own = new DefaultExecutionEventBus();
  #bus: TaskBus | undefined;
  #said: Said | undefined;

  to(bus: TaskBus): ExecutionEventBus {
    this.#bus = bus;
    this.#said = bus.said();
    bus.on('event', this.#pass).on('finished', this.end);
    return this.#own;
  }

  /** What the store told, first of all, with all that had been said when this began. Of later news, they alone. */
  withSaid(task: Task): Task {
    const said = this.#said;
    this.#said = undefined;
    return { ...task, ...said };
  }

  readonly end = (): void => {
    this.#bus?.off('event', this.#pass).off('finished', this.end);
    this.#own.finished();
  };

  readonly #pass = (event: AgentExecutionEvent): void => this.#own.publish(event);
}

function nameIn(context: ServerCallContext = new ServerCallContext(), taskId: string): string {
  return nameOf(taskKey(taskId, scopeOf(context)));
}
