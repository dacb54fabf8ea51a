import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { isAgentUpError } from '../errors.js';
import type { Logger } from '../logger.js';
import { checkId, keyText, type RecordKey } from '../storage/keys.js';
import { RESERVATION_MS, type StateRecord, type StateStorage } from '../storage/state-storage.js';
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

export interface TurnTarget {
  readonly storage: StateStorage;
  readonly key: RecordKey;
  readonly settings: TurnSettings;
  readonly logger: Logger;
  /** The user this turn is for; the owner of a conversation that has none. */
  readonly owner?: string | undefined;
}

/**
 * The one place where a turn runs: begin, the handler, commit. A handler that throws leaves no trace and is not
 * called again. Called inside a turn of the same record, it joins that turn: its changes become part of it.
 * @throws CONVERSATION_BUSY when the conversation does not come free in time, LEASE_LOST when somebody else took over
 */
export async function runTurn<Result>(
  target: TurnTarget,
  handler: (turn: Turn) => Result | Promise<Result>,
): Promise<Result> {
  const { storage, key, settings, owner } = target;
  if (owner !== undefined) checkId(owner, 'userId');
  const text = keyText(key);
  const parent = currentTurn(storage, text);
  if (parent) return perform(new Turn({ ...target, text, parent, copy: parent.fork() }), handler);
  if (settings.concurrency === 'parallel') {
    const record = await storage.read(key, { log: settings.historyLoad });
    return perform(new Turn({ ...target, text, copy: new WorkingCopy(record) }), handler);
  }
  const deadline = performance.now() + settings.waitMs;
  let queue = shared.queues.get(storage);
  if (!queue) {
    queue = new TurnQueue();
    shared.queues.set(storage, queue);
  }
  const leave = await queue.enter(text, settings.waitMs, settings.maxWaiting);
  try {
    const token = uniqueId();
    const record = await begin(storage, key, token, settings, deadline);
    const lease = { token, leaseMs: settings.leaseMs };
    return await perform(new Turn({ ...target, text, lease, copy: new WorkingCopy(record) }), handler);
  } finally {
    leave();
  }
}

async function perform<Result>(turn: Turn, handler: (turn: Turn) => Result | Promise<Result>): Promise<Result> {
  const frame: Frame = { turn, outer: shared.frames.getStore() };
  try {
    const result = await shared.frames.run(frame, handler, turn);
    await turn.finish();
    return result;
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
  token: string,
  { leaseMs, historyLoad }: TurnSettings,
  deadline: number,
): Promise<StateRecord | undefined> {
  for (let pause = 1; ; pause = Math.min(pause * 2, RESERVATION_MS / 4)) {
    const begun = await storage.begin(key, { token, leaseMs, log: historyLoad }).catch((error: unknown) => {
      // The answer may have been lost, not the question: a lease that nobody knows of would block the next turn.
      storage.commit(key, [], { lease: { token } }).catch(() => {});
      throw error;
    });
    if (!begun.busy) return begun.record;
    const left = deadline - performance.now();
    if (left <= 0) throw busy('another process holds its lease', begun.retryAfterMs);
    await delay(Math.min(left, begun.retryAfterMs, pause * (0.5 + Math.random())));
  }
}
