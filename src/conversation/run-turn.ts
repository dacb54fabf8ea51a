import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { isAgentUpError } from '../errors.js';
import type { Token } from '../json.js';
import type { Logger } from '../logger.js';
import { checkId, keyText, type RecordKey } from '../storage/keys.js';
import { type BeginOptions, RESERVATION_MS, type StateRecord, type StateStorage } from '../storage/state-storage.js';
import { type CommitSettings, uniqueId } from './commit-settings.js';
import { Turn } from './turn.js';
import { busy, TurnQueue } from './turn-queue.js';
import { WorkingCopy } from './working-copy.js';

export interface TurnSettings extends CommitSettings {
  readonly concurrency: 'serial' | 'parallel';
  /** Messages loaded with the snapshot. */
  readonly historyLoad: number;
  readonly leaseMs: number;
  /** Longest wait for the turns before, in milliseconds. */
  readonly waitMs: number;
  /** Most turns of one conversation that wait in this process. */
  readonly maxWaiting: number;
}

interface Frame {
  readonly turn: Turn;
  readonly outer: Frame | undefined;
}

/** Kept where every installed copy of the package finds it: a turn must be seen by all of them, or it waits for itself. */
interface Shared {
  readonly frames: AsyncLocalStorage<Frame>;
  readonly queues: WeakMap<StateStorage, TurnQueue>;
}
const SHARED = Symbol.for('agentup.turns.1');
const globals = globalThis as { [SHARED]?: Shared };
const shared: Shared = (globals[SHARED] ??= { frames: new AsyncLocalStorage(), queues: new WeakMap() });

/** The running turn, on this storage and record, that the calling code is part of. */
export function currentTurn(storage: StateStorage, text: string): Turn | undefined {
  for (let frame = shared.frames.getStore(); frame; frame = frame.outer) {
    if (frame.turn.storage === storage && frame.turn.text === text && !frame.turn.ended) return frame.turn;
  }
  return undefined;
}

/** Is the calling code part of a running turn, of whatever record? */
export function isInTurn(): boolean {
  return shared.frames.getStore() !== undefined;
}

export interface TurnTarget {
  readonly storage: StateStorage;
  readonly key: RecordKey;
  readonly settings: TurnSettings;
  readonly logger: Logger;
  /** The user this turn is for; the owner of a conversation that has none. */
  readonly owner?: string | undefined;
  /** Names the message that is handled. Of a turn that joins another one it means nothing. */
  readonly idempotencyKey?: string | undefined;
}

export interface TurnOutcome<Result> {
  readonly result: Result;
  /** The reply of an earlier turn with the same idempotency key, which is the one that counts. */
  readonly reply: Token | undefined;
}

/**
 * The one place where a turn runs: begin, the handler, commit. A handler that throws leaves no trace and is not
 * called again. Called inside a turn of the same record, it joins that turn: its changes become part of it.
 * Where the idempotency key is known the turn has its `reply`, and changes nothing.
 * @throws CONVERSATION_BUSY when the conversation does not come free in time, LEASE_LOST when somebody else took over
 */
export async function runTurn<Result>(
  target: TurnTarget,
  handler: (turn: Turn) => Result | Promise<Result>,
): Promise<TurnOutcome<Result>> {
  const { storage, key, settings, owner, idempotencyKey } = target;
  if (owner !== undefined) checkId(owner, 'userId');
  const text = keyText(key);
  const parent = currentTurn(storage, text);
  if (parent) {
    const joins = { ...target, idempotencyKey: undefined, text, parent, copy: parent.fork() };
    return perform(new Turn(joins), handler);
  }
  const parallel = settings.concurrency === 'parallel';
  const asks = { log: settings.historyLoad, ...(idempotencyKey !== undefined && { idempotencyKey }) };
  const runParallel = async (): Promise<TurnOutcome<Result>> => {
    const record = await storage.read(key, asks);
    return perform(new Turn({ ...target, text, copy: new WorkingCopy(record), reply: record?.reply }), handler);
  };
  if (parallel && idempotencyKey === undefined) return runParallel();
  const deadline = performance.now() + settings.waitMs;
  let queue = shared.queues.get(storage);
  if (!queue) {
    queue = new TurnQueue();
    shared.queues.set(storage, queue);
  }
  // Parallel turns wait for nothing but an earlier delivery of their own message. No key text holds a blank.
  const line = parallel ? `${text} ${idempotencyKey}` : text;
  const leave = await queue.enter(line, settings.waitMs, settings.maxWaiting);
  try {
    if (parallel) return await runParallel();
    const token = uniqueId();
    const { leaseMs } = settings;
    const record = await begin(storage, key, { ...asks, token, leaseMs }, deadline);
    const lease = { token, leaseMs };
    const turn = new Turn({ ...target, text, lease, copy: new WorkingCopy(record), reply: record?.reply });
    return await perform(turn, handler);
  } finally {
    leave();
  }
}

async function perform<Result>(
  turn: Turn,
  handler: (turn: Turn) => Result | Promise<Result>,
): Promise<TurnOutcome<Result>> {
  const frame: Frame = { turn, outer: shared.frames.getStore() };
  try {
    const result = await shared.frames.run(frame, handler, turn);
    await turn.finish();
    return { result, reply: turn.reply };
  } catch (error) {
    const released = turn.abandon();
    // A storage that is down has taken its time already; the lease ends by itself if this does not reach it.
    if (!isAgentUpError(error, 'STORAGE_UNAVAILABLE')) await released;
    throw error;
  }
}

/** Asks until the lease is granted. The pauses stay below the reservation's life, so that the place in line is kept. */
async function begin(
  storage: StateStorage,
  key: RecordKey,
  options: BeginOptions,
  deadline: number,
): Promise<StateRecord | undefined> {
  for (let pause = 1; ; pause = Math.min(pause * 2, RESERVATION_MS / 4)) {
    const begun = await storage.begin(key, options).catch((error: unknown) => {
      // The answer may have been lost, not the question: a lease that nobody knows of would block the next turn.
      storage.commit(key, [], { lease: { token: options.token } }).catch(() => {});
      throw error;
    });
    if (!begun.busy) return begun.record;
    const left = deadline - performance.now();
    if (left <= 0) throw busy('another process holds its lease', begun.retryAfterMs);
    await delay(Math.min(left, begun.retryAfterMs, pause * (0.5 + Math.random())));
  }
}
