import { setImmediate } from 'node:timers/promises';
import { type Message, type Task, TaskState, type TaskStatus } from '@a2a-js/sdk';
import {
  AgentEvent,
  type AgentExecutor,
  type ExecutionEventBus,
  type RequestContext,
  type TaskStore,
} from '@a2a-js/sdk/server';
import type { Agent, Reply } from '../../agent/agent.js';
import { isAgentUpError } from '../../errors.js';
import type { Logger } from '../../logger.js';
import { isInputRequired } from '../../skill/input-required.js';
import { type Task as HandlerTask, textOf } from '../../skill/task.js';
import { Cancellation } from '../../skill/turn-signal.js';
import { failureOf } from '../failure.js';
import { RunningCalls } from '../running-calls.js';
import { type CallScope, scopeOf } from './caller.js';
import { agentMessage, partsOf, taskPartOf } from './parts.js';
import { StateTaskStore } from './task-store.js';

type Metadata = Record<string, unknown>;

/** The entry of a task's metadata that says which skill asked. */
const SKILL = 'skill';
/** The artifact that the chunks of a handler that streams are put into. */
export const STREAM = 'reply';
/** How often a running turn looks whether its task was cancelled elsewhere, in milliseconds. */
const HEED_EVERY_MS = 1000;
/** A stream lets others in after so long, in milliseconds. */
const MOST_AT_A_TIME_MS = 10;

/**
 * Runs what the A2A SDK hands on as turns of an agent, and tells it what came of them. A reply is a message; a task
 * is made where there is more to say than one: a stream, a question, a failure, or an answer before the end.
 */
export class StatefulExecutor implements AgentExecutor {
  readonly #agent: Agent;
  readonly #tasks: TaskStore;
  readonly #logger: Logger;
  readonly #calls = new RunningCalls();

  constructor(agent: Agent, tasks: TaskStore, logger: Logger) {
    this.#agent = agent;
    this.#tasks = tasks;
    this.#logger = logger;
  }

  execute(request: RequestContext, bus: ExecutionEventBus): Promise<void> {
    const cancellation = new Cancellation();
    // A task that is sent again meanwhile runs beside itself until it is its turn.
    return this.#calls.run(() => this.#execute(request, bus, cancellation), cancellation, request.taskId);
  }

  /** Ends the turn; how the task ended is told by the turn itself, which may have been over already. */
  cancelTask(taskId: string): Promise<void> {
    return this.#calls.cancel(taskId, new Error('the task was cancelled'));
  }

  /** Waits for the turns that run, and cancels those that take longer than `timeoutMs`. @returns how many those were */
  stop(timeoutMs: number): Promise<number> {
    return this.#calls.stop(timeoutMs);
  }

  /** Never fails: an error becomes an event. */
  async #execute(request: RequestContext, bus: ExecutionEventBus, cancellation: Cancellation): Promise<void> {
    const scope = scopeOf(request.context);
    let heed: NodeJS.Timeout | undefined;
    const outlet = new Outlet(request, bus, () => {
      // A task that nobody has heard of yet, nobody can cancel.
      heed = setInterval(() => this.#heed(request, cancellation), HEED_EVERY_MS);
    });
    // Who does not wait for the end, or goes on with a task, hears of the task first.
    if (request.task || request.request.configuration?.returnImmediately) outlet.open();
    try {
      const chunks: unknown[] = [];
      const pace = new Pace();
      const reply = await this.#agent.handle(Cancellation.of(taskOf(request, scope), cancellation), {
        skill: this.#askedBy(request),
        ...(scope.userId !== undefined && { scope: 'session' as const }),
        onChunk: async (chunk) => {
          chunks.push(chunk);
          outlet.chunk(chunk);
          await pace.step();
        },
      });
      await this.#answer(reply, chunks, request, outlet);
    } catch (error) {
      if (isAgentUpError(error, 'TURN_CANCELLED')) return outlet.end(TaskState.TASK_STATE_CANCELED, 'Cancelled.');
      this.#logger.error(error, `a turn of ${request.contextId} failed`);
      const { text, code } = failureOf(error);
      outlet.end(TaskState.TASK_STATE_FAILED, text, { code });
    } finally {
      clearInterval(heed);
    }
  }

  /** A task can be cancelled by way of another process, which cannot end the turn that runs here. */
  async #heed({ taskId, context }: RequestContext, cancellation: Cancellation): Promise<void> {
    const tasks = this.#tasks;
    if (!(tasks instanceof StateTaskStore)) return;
    // A storage that is down is told of by the turn.
    const cancelled = await tasks.isCancelled(taskId, context).catch(() => false);
    if (cancelled) cancellation.cancel(new Error('the task was cancelled'));
  }

  /** The skill whose question this message answers, whatever its words would lead to. */
  #askedBy({ task }: RequestContext): string | undefined {
    const id: unknown = task?.metadata?.[SKILL];
    return this.#agent.skills.find((skill) => skill.id === id)?.id;
  }

  async #answer(
    { value, redelivered, skillId }: Reply,
    chunks: readonly unknown[],
    request: RequestContext,
    outlet: Outlet,
  ) {
    if (!isInputRequired(value)) {
      if (!outlet.opened) return outlet.message(value);
      return outlet.end(TaskState.TASK_STATE_COMPLETED, isAllOf(chunks, value) ? undefined : value);
    }
    const asked = redelivered ? value.taskId : undefined;
    const metadata = { [SKILL]: skillId };
    if (asked === undefined || asked === request.taskId) {
      return outlet.end(TaskState.TASK_STATE_INPUT_REQUIRED, value, metadata);
    }
    // The question was asked before, and belongs to the task of then.
    outlet.resume(asked, await this.#tasks.load(asked, request.context), value, metadata);
  }
}

/** A handler that never waits for anything must not keep everybody else waiting. */
class Pace {
  #since = performance.now();

  async step(): Promise<void> {
    if (performance.now() - this.#since < MOST_AT_A_TIME_MS) return;
    await setImmediate();
    this.#since = performance.now();
  }
}

/** What one execution says. */
class Outlet {
  opened = false;
  readonly #request: RequestContext;
  readonly #bus: ExecutionEventBus;
  readonly #onOpened: () => void;
  #chunks = 0;

  constructor(request: RequestContext, bus: ExecutionEventBus, onOpened: () => void) {
    this.#request = request;
    this.#bus = bus;
    this.#onOpened = onOpened;
  }

  open(): void {
    if (this.opened) return;
    this.opened = true;
    this.#onOpened();
    const { taskId, contextId, task, userMessage } = this.#request;
    this.#bus.publish(
      AgentEvent.task({
        id: taskId,
        contextId,
        status: statusOf(TaskState.TASK_STATE_WORKING),
        artifacts: task?.artifacts ?? [],
        history: task?.history ?? [userMessage],
        metadata: task?.metadata,
      }),
    );
  }

  message(value: unknown): void {
    const { contextId } = this.#request;
    this.#bus.publish(AgentEvent.message(agentMessage(partsOf(value), contextId, '')));
  }

  chunk(value: unknown): void {
    this.open();
    const { taskId, contextId } = this.#request;
    this.#bus.publish(
      AgentEvent.artifactUpdate({
        taskId,
        contextId,
        artifact: {
          artifactId: STREAM,
          name: '',
          description: '',
          parts: partsOf(value),
          metadata: undefined,
          extensions: [],
        },
        append: this.#chunks++ > 0,
        lastChunk: false,
        metadata: undefined,
      }),
    );
  }

  /** The last word on the task; nothing of it where `value` is `undefined`. */
  end(state: TaskState, value: unknown, metadata?: Metadata): void {
    this.open();
    const { taskId, contextId } = this.#request;
    const said = value === undefined ? undefined : agentMessage(partsOf(value), contextId, taskId);
    this.#bus.publish(AgentEvent.statusUpdate({ taskId, contextId, status: statusOf(state, said), metadata }));
  }

  /** Answers with a task of before, or makes it again where it was never stored. */
  resume(taskId: string, stored: Task | undefined, question: unknown, metadata: Metadata): void {
    const { contextId, userMessage } = this.#request;
    const asked = agentMessage(partsOf(question), contextId, taskId);
    // A server that died after the commit may have left it at work.
    const kept = stored?.status?.state === TaskState.TASK_STATE_WORKING ? undefined : stored?.status;
    const status = kept ?? statusOf(TaskState.TASK_STATE_INPUT_REQUIRED, asked);
    const fresh = { id: taskId, contextId, status, artifacts: [], history: [userMessage], metadata };
    this.opened = true;
    this.#bus.publish(AgentEvent.task(stored ?? fresh));
    this.#bus.publish(AgentEvent.statusUpdate({ taskId, contextId, status, metadata: kept ? undefined : metadata }));
  }
}

function taskOf(request: RequestContext, { tenantId, userId }: CallScope): HandlerTask {
  const { userMessage, taskId, contextId } = request;
  const parts = userMessage.parts.map(taskPartOf);
  const metadata = { ...request.request.metadata, ...userMessage.metadata };
  return {
    id: taskId,
    contextId,
    messageId: userMessage.messageId,
    text: textOf({ parts }),
    parts,
    ...(userId !== undefined && { userId }),
    ...(tenantId !== undefined && { tenantId }),
    ...(Object.keys(metadata).length > 0 && { metadata }),
  };
}

function statusOf(state: TaskState, message?: Message): TaskStatus {
  return { state, message, timestamp: new Date().toISOString() };
}

/** Has the stream said all of the reply? */
function isAllOf(chunks: readonly unknown[], value: unknown): boolean {
  if (chunks.length === 0) return false;
  if (typeof value === 'string') return value === chunks.join('');
  return Array.isArray(value) && value.length === chunks.length && value.every((item, at) => item === chunks[at]);
}
