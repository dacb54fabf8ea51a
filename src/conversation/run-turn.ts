import { AsyncLocalStorage } from 'node:async_hooks';
import { isAgentUpError } from '../errors.js';
import type { Token } from '../json.js';
import type { Logger } from '../logger.js';
import { checkBegin } from '../storage/changes.js';
import { checkId, keyText, type RecordKey } from '../storage/keys.js';
import {
  type BeginOptions,
  type Begun,
  RESERVATION_MS,
  type ReadOptions,
  type StateStorage,
} from '../storage/state-storage.js';
import { uniqueId } from '../unique-id.js';
import type { Answer } from './access.js';
import type { CommitSettings } from './commit-settings.js';
import { isToOutlive, outlive } from './outlive.js';
import { Turn, turnEnded } from './turn.js';
import type { Lease } from './turn-commits.js';
import { busy, type Stop, TurnQueue } from './turn-queue.js';
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
    if (frame.turn.givenUp) throw turnEnded(frame.turn.key.id);
    if (frame.turn.storage === storage && frame.turn.text === text && !frame.turn.ended) return frame.turn;
  }
  return undefined;
}

/** The turn whose handler the calling code is part of, whatever it is about. It may have ended. */
export function enclosingTurn(): Turn | undefined {
  return shared.frames.getStore()?.turn;
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
  /** Ends the wait for other turns. What it does once the turn runs is the handler's. */
  readonly stop?: Stop | undefined;
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
 *
 * One function, because each more would be one more promise, which costs as much as a few reads of a handler.
 * @param beforeCommit told what the handler returned
 * @param more says how to come to the result where what the handler returned is not yet it, but a stream
 * @throws CONVERSATION_BUSY when the conversation does not come free in time, LEASE_LOST when somebody else took over, what `target.stop` says
 */
export async function runTurn<Result>(
  target: TurnTarget,
  handler: (turn: Turn) => Answer<Result>,
  beforeCommit?: (turn: Turn, result: Result) => void,
  more?: (result: Result) => (() => Promise<Result>) | undefined,
): Promise<TurnOutcome<Result>> {
  const { storage, key, settings, owner, idempotencyKey, stop } = target;
  if (owner !== undefined) checkId(owner, 'userId');
  const text = keyText(key);
  const parent = currentTurn(storage, text);
  const parallel = settings.concurrency === 'parallel';
  const line = parent ? undefined : lineOf(text, parallel, idempotencyKey);
  const queue = queueOf(storage);
  const deadline = performance.now() + settings.waitMs;
  const asks = parent || parallel ? undefined : beginOptions(settings, idempotencyKey);
  // The commit of the turn before may ask for this one: it must not fail for what is wrong here.
  if (asks && queue.has(text)) checkBegin(key, asks);
  const waiting = line === undefined ? undefined : queue.enter(line, settings, asks, stop);
  const handedOver = waiting ? await waiting : undefined;
  let turn: Turn | undefined;
  /** The token of a `begin` that has not been answered. */
  let asked: string | undefined;
  try {
    if (parent) {
      while (parent.saving) await parent.saving;
      turn = new Turn(target, text, { copy: parent.fork(), parent });
    } else if (!asks) {
      const record = await storage.read(key, readOptions(settings, idempotencyKey));
      turn = new Turn(target, text, { copy: new WorkingCopy(record), reply: record?.reply });
    } else {
      let begun: Begun | undefined = handedOver && { busy: false, record: handedOver.record };
      for (let pause = 1; !turn; pause = Math.min(pause * 2, MAX_PAUSE_MS)) {
        asked = asks.token;
        begun ??= await storage.begin(key, asks);
        if (begun.busy) {
          asked = undefined;
          await untilNext(deadline, begun.retryAfterMs, pause, stop);
          begun = undefined;
        } else {
          let { record } = begun;
          if (isToOutlive(record, target)) {
            const lived = await outlive(storage, key, settings, asks);
            begun = undefined;
            // It was over before: this turn begins with what there is now.
            if (!lived.committed) continue;
            record = { ...record, version: lived.version, expiresAt: lived.expiresAt };
          }
          turn = new Turn(target, text, { copy: new WorkingCopy(record), reply: record?.reply, lease: asks });
          asked = undefined;
        }
      }
    }
    const frame: Frame = { turn, outer: shared.frames.getStore() };
    let result = await shared.frames.run(frame, handler, turn);
    const rest = more?.(result);
    if (rest) result = await shared.frames.run(frame, rest);
    beforeCommit?.(turn, result);
    await turn.finish(line === undefined ? undefined : () => queue.next(line));
    turn.settle(true);
    return { result, reply: turn.reply };
  } catch (error) {
    // The answer may have been lost, not the question: a lease that nobody knows of would block the next turn.
    if (asked !== undefined) giveBack(storage, key, asked);
    const released = turn?.abandon();
    // A storage that is down has taken its time already; the lease ends by itself if this does not reach it.
    if (!isAgentUpError(error, 'STORAGE_UNAVAILABLE')) await released;
    turn?.settle(false);
    throw error;
  } finally {
    const passing = turn?.passing;
    // Whoever was to have the lease next has given up waiting.
    if (line !== undefined && !queue.leave(line, passing) && passing) giveBack(storage, key, passing.token);
  }
}

/** The pauses between two questions stay below the life of a reservation, so that the place in line is kept. */
const MAX_PAUSE_MS = RESERVATION_MS / 4;

async function untilNext(deadline: number, retryAfterMs: number, pause: number, stop: Stop | undefined): Promise<void> {
  const left = deadline - performance.now();
  if (left <= 0) throw busy('another process holds its lease', retryAfterMs);
  stop?.check();
  await new Promise<void>((resolve, reject) => {
    const deaf = stop?.hear((error) => {
      clearTimeout(timer);
      reject(error);
    });
    const next = (): void => {
      deaf?.();
      resolve();
    };
    const timer = setTimeout(next, Math.min(left, retryAfterMs, pause * (0.5 + Math.random())));
  });
}

/** What a turn waits in line for: parallel ones for nothing but an earlier delivery of their own message. */
function lineOf(text: string, parallel: boolean, idempotencyKey: string | undefined): string | undefined {
  if (!parallel) return text;
  // No key text holds a blank.
  return idempotencyKey === undefined ? undefined : `${text} ${idempotencyKey}`;
}

function readOptions({ historyLoad: log }: TurnSettings, idempotencyKey: string | undefined): ReadOptions {
  return idempotencyKey === undefined ? { log } : { log, idempotencyKey };
}

function beginOptions(
  { historyLoad: log, leaseMs }: TurnSettings,
  idempotencyKey: string | undefined,
): BeginOptions & Lease {
  const token = uniqueId();
  return idempotencyKey === undefined ? { token, leaseMs, log } : { token, leaseMs, log, idempotencyKey };
}

/** Ends a lease that may have been taken, and that no turn knows of. */
function giveBack(storage: StateStorage, key: RecordKey, token: string): void {
  storage.commit(key, [], { lease: { token } }).catch(() => {});
}

function queueOf(storage: StateStorage): TurnQueue {
  let queue = shared.queues.get(storage);
  if (!queue) {
    queue = new TurnQueue();
    shared.queues.set(storage, queue);
  }
  return queue;
}
