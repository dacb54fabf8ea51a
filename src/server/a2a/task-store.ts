import { setTimeout as delay } from 'node:timers/promises';
import type { ListTasksRequest, ListTasksResponse } from '@a2a-js/sdk';
import { Task, TaskState } from '@a2a-js/sdk';
import type { ServerCallContext, TaskStore } from '@a2a-js/sdk/server';
import { type Clock, systemClock } from '../../clock.js';
import { isAgentUpError } from '../../errors.js';
import { decode, encode } from '../../json.js';
import type { RecordKey } from '../../storage/keys.js';
import type { Change, Committed, RecordInfo, Refused, StateRecord, StateStorage } from '../../storage/state-storage.js';
import { scopeOf } from './caller.js';
import { interrupted, resends } from './interrupted.js';
import { joinTexts } from './parts.js';
import { ServerPulse } from './server-pulse.js';
import { nameOf, taskKey } from './task-keys.js';
import { listTasks } from './task-listing.js';
import { UnsavedTasks } from './unsaved-tasks.js';

export interface TaskStoreOptions {
  /** Seconds that a task is kept after it last changed. Default 604800, a week. */
  readonly ttl?: number | 'none' | undefined;
  /** Most messages kept with one task; the oldest are dropped. Default 200. */
  readonly historyLimit?: number | undefined;
  /**
   * The artifact that a stream is put into: texts that follow each other in it are kept as one part. Default: none,
   * every part stays as it came.
   */
  readonly streamArtifact?: string | undefined;
  readonly clock?: Clock | undefined;
}

/** A task that works is written at most so often, in milliseconds. */
const WORKING_EVERY_MS = 1000;
/** How often a server that stops looks whether its tasks are written, in milliseconds. */
const LOOK_EVERY_MS = 10;

interface Working {
  readonly task: Task;
  readonly version: number;
  readonly writtenAt: number;
  /** Another process has done something to it, and what is done here does not count any more. */
  readonly lost?: boolean;
}

/**
 * The tasks of an A2A server over any storage: each is a record of its tenant and owner, with its artifacts and raw
 * bytes. While a task works, the newest state of it is in this process, and in the storage at most a second later;
 * any other state is written before the caller hears of it, or, where the storage is down, as soon as it is back, for
 * ten minutes at most. What another process did to it meanwhile, such as a cancellation or going on with it where its
 * message was sent again there, is not written over.
 */
export class StateTaskStore implements TaskStore {
  readonly #storage: StateStorage | Promise<StateStorage>;
  readonly #ttl: number | 'none';
  readonly #historyLimit: number;
  readonly #streamArtifact: string | undefined;
  readonly #clock: Clock;
  readonly #working = new Map<string, Working>();
  /** Tasks whose first state is being written, and how many have been. */
  readonly #beginning = new Set<string>();
  #saves = 0;
  /** Loads and saves that have not ended. */
  #calls = 0;
  readonly #unsaved = new UnsavedTasks();
  readonly #pulse: ServerPulse;

  constructor(
    storage: StateStorage | Promise<StateStorage>,
    { ttl = 604_800, historyLimit = 200, streamArtifact, clock = systemClock }: TaskStoreOptions = {},
  ) {
    this.#storage = storage;
    this.#pulse = new ServerPulse(storage);
    this.#ttl = ttl;
    this.#historyLimit = historyLimit;
    this.#streamArtifact = streamArtifact;
    this.#clock = clock;
  }

  save(task: Task, context: ServerCallContext): Promise<void> {
    return this.#counted(this.#save(task, context));
  }

  async #save(task: Task, context: ServerCallContext): Promise<void> {
    const key = taskKey(task.id, scopeOf(context));
    const name = nameOf(key);
    const known = this.#working.get(name);
    const works = isAtWork(task);
    if (known?.lost) {
      if (!works) this.#working.delete(name);
      return;
    }
    const now = this.#clock.now();
    if (task.history.length > this.#historyLimit) task.history = task.history.slice(-this.#historyLimit);
    // The SDK copies the task with every chunk: of a long stream of parts that would take minutes.
    const stream = task.artifacts.find(({ artifactId }) => artifactId === this.#streamArtifact);
    if (stream) stream.parts = joinTexts(stream.parts);
    if (works && known && now - known.writtenAt < WORKING_EVERY_MS) {
      this.#working.set(name, { ...known, task: copyOf(task) });
      return;
    }
    this.#unsaved.forget(name);
    if (!works) return this.#saveLast(name, key, copyOf(task), known);
    this.#saves++;
    this.#beginning.add(name);
    try {
      await this.#pulse.begin();
      const saved = await this.#commit(key, task, known);
      if (saved.committed) this.#working.set(name, { task: copyOf(task), version: saved.version, writtenAt: now });
      else if (known) this.#working.set(name, { ...known, lost: true });
    } catch (error) {
      // What comes next is written with it.
      if (!known || !isAgentUpError(error, 'STORAGE_UNAVAILABLE')) throw error;
      this.#working.set(name, { ...known, task: copyOf(task) });
    } finally {
      this.#beginning.delete(name);
    }
  }

  /** A state that this process has no more to do with. Where the storage is down it is written later. */
  async #saveLast(name: string, key: RecordKey, task: Task, known: Working | undefined): Promise<void> {
    try {
      await this.#commit(key, task, known);
    } catch (error) {
      const later = async (): Promise<void> => void (await this.#commit(key, task, known));
      // A task that was never written is no task yet: its caller is told.
      if (!known || !isAgentUpError(error, 'STORAGE_UNAVAILABLE') || !this.#unsaved.add(name, task, later)) throw error;
    } finally {
      this.#working.delete(name);
    }
  }

  async #commit(key: RecordKey, task: Task, known: Working | undefined): Promise<Committed | Refused> {
    const changes: Change[] = [
      { op: 'set', field: 'task', value: encode(Task.toJSON(task)) },
      { op: 'owner', owner: task.contextId || undefined },
    ];
    if (isAtWork(task)) changes.push({ op: 'set', field: 'server', value: encode(this.#pulse.id) });
    const options = { expiry: { set: this.#ttl } } as const;
    const storage = await this.#storage;
    const saved = await storage.commit(key, changes, {
      ...options,
      ...(known && { condition: { version: known.version } }),
    });
    return saved.committed || !this.#isOwn(saved.record) ? saved : storage.commit(key, changes, options);
  }

  /** Is it still as this server left it, but for where its news are to go? */
  #isOwn(record: StateRecord | undefined): boolean {
    if (!record) return true;
    const [task, server] = [taskIn(record), record.fields.get('server')];
    return task === undefined || (isAtWork(task) && server === encode(this.#pulse.id));
  }

  /** A task that was at work in a server that is gone has failed; to who sends its message again it is as it was. */
  load(taskId: string, context: ServerCallContext): Promise<Task | undefined> {
    return this.#counted(this.#load(taskId, context));
  }

  async #load(taskId: string, context: ServerCallContext): Promise<Task | undefined> {
    const key = taskKey(taskId, scopeOf(context));
    const name = nameOf(key);
    const working = this.#working.get(name);
    const here = working?.lost ? undefined : (working?.task ?? this.#unsaved.get(name));
    if (here) return copyOf(here);
    const begins = this.#beginning.has(name);
    const saves = this.#saves;
    const record = await this.#read(key);
    const task = taskIn(record);
    if (!task || !isAtWork(task) || resends(context, task)) return task;
    const server = record?.fields.get('server');
    if (server === undefined) return task;
    const id = decode<string>(server);
    if (id === this.#pulse.id) return begins || saves !== this.#saves ? task : interrupted(task);
    if (!(await this.#pulse.isGone(id))) return task;
    // It may have ended the task and then itself.
    const last = await this.#read(key);
    return last?.version === record?.version ? interrupted(task) : taskIn(last);
  }

  async #read(key: RecordKey): Promise<StateRecord | undefined> {
    return (await this.#storage).read(key, { fields: ['task', 'server'] });
  }

  /** Has it been cancelled, maybe by way of another process? */
  async isCancelled(taskId: string, context: ServerCallContext): Promise<boolean> {
    const record = await (await this.#storage).read(taskKey(taskId, scopeOf(context)), { fields: ['task'] });
    return taskIn(record)?.status?.state === TaskState.TASK_STATE_CANCELED;
  }

  async #counted<T>(call: Promise<T>): Promise<T> {
    this.#calls++;
    try {
      return await call;
    } finally {
      this.#calls--;
    }
  }

  /** Waits until the end of each task that worked here has been written, for so many milliseconds at most. */
  async ended(timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs;
    do await delay(LOOK_EVERY_MS);
    while (this.#working.size + this.#calls > 0 && performance.now() < until);
  }

  /** For when nothing works here any more: writes what could not be written, and says goodbye to other processes. */
  async leave(): Promise<void> {
    await this.#unsaved.end();
    await this.#pulse.end();
  }

  /** Closes the storage. */
  async close(): Promise<void> {
    await this.leave();
    await (await this.#storage).close();
  }

  /** By when they last changed, the newest first. An anonymous caller sees those of a conversation it names. */
  async list(query: ListTasksRequest, context: ServerCallContext): Promise<ListTasksResponse> {
    const scope = scopeOf(context);
    const { contextId } = query;
    if (scope.userId === undefined && !contextId) {
      return { tasks: [], nextPageToken: '', pageSize: query.pageSize ?? 0, totalSize: 0 };
    }
    const { space, scope: container } = taskKey('any', scope);
    const found: RecordInfo[] = [];
    const listing = { space, scope: container, ...(contextId && { owner: contextId }) };
    for await (const info of (await this.#storage).list(listing)) {
      // Without a conversation it is only where to send news of a task that never came to be.
      if (info.owner !== undefined) found.push(info);
    }
    return listTasks(found, query, (id) => this.load(id, context));
  }
}

function isAtWork({ status }: Task): boolean {
  return status?.state === TaskState.TASK_STATE_WORKING;
}

/**
 * A copy that the SDK may change: it puts other parts and messages into a task, and never changes one. Those of a long
 * stream, copied with every chunk, would take minutes.
 */
function copyOf(task: Task): Task {
  return { ...task, artifacts: task.artifacts.map((artifact) => ({ ...artifact })), history: [...task.history] };
}

function taskIn(record: StateRecord | undefined): Task | undefined {
  const token = record?.fields.get('task');
  return token === undefined ? undefined : Task.fromJSON(decode(token));
}
