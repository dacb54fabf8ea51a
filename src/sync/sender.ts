import { setMaxListeners } from 'node:events';
import type { Clock } from '../clock.js';
import { AgentUpError, isAgentUpError, messageOf } from '../errors.js';
import type { Logger } from '../logger.js';
import { keyText, type RecordKey } from '../storage/keys.js';
import { uniqueId } from '../unique-id.js';
import type { ConversationClient } from './conversation-client.js';
import type { DeadLetters } from './dead-letters.js';
import { deliver } from './delivery.js';
import type { Outbox, Queue } from './outbox.js';
import { type Batch, firstBatch, halves, type OutboxEntry, type SyncTarget } from './outbox-entry.js';
import { type Backoff, pauseMs } from './retry.js';
import type { SyncEmitter } from './sync-events.js';
import { observedDelivery } from './sync-telemetry.js';

export interface SenderParts {
  readonly outbox: Outbox;
  readonly dead: DeadLetters;
  readonly client: ConversationClient;
  readonly events: SyncEmitter;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  readonly backoff: Backoff;
  /** The right to send one conversation ends by itself after so many milliseconds without a sign of life. */
  readonly leaseMs: number;
  /** Most conversations that are sent at once. */
  readonly concurrency: number;
}

/** Why a queue is not sent now. */
interface Pause {
  failures: number;
  until: number;
}

/** The last error, and when it was: epoch milliseconds. */
export interface LastError {
  readonly at: number;
  readonly error: AgentUpError;
}

/**
 * Sends what lies in the outbox: each conversation in its order by one sender at a time, several conversations at
 * once. A remote that is down is asked again by one of them; the others wait.
 */
export class Sender {
  readonly #parts: SenderParts;
  readonly #stop = new AbortController();
  readonly #sending = new Map<string, Promise<void>>();
  /** Asked for while they were being sent: what came in at the very end must not wait. */
  readonly #again = new Set<string>();
  readonly #queues = new Map<string, Pause>();
  readonly #remote: Pause = { failures: 0, until: 0 };
  lastSuccess: number | undefined;
  lastError: LastError | undefined;
  /** Entries that this process has brought to the remote, and that it saw lost to the bound. */
  sent = 0;

  constructor(parts: SenderParts) {
    this.#parts = parts;
    // One request for each conversation that is sent listens to it.
    setMaxListeners(0, this.#stop.signal);
  }

  /** When the remote is asked again, where it is down: epoch milliseconds. */
  get pausedUntil(): number | undefined {
    return this.#remote.until > this.#parts.clock.now() ? this.#remote.until : undefined;
  }

  /** Sends whatever waits, as far as it can be. `force`: also what is to be left alone for a while. */
  async pass(force = false): Promise<void> {
    const { outbox, clock, concurrency, logger } = this.#parts;
    if (force) {
      // What is being tried now may fail for what was, and would have the rest left alone.
      await Promise.allSettled(this.#sending.values());
      this.#remote.until = 0;
      this.#queues.clear();
    }
    const waiting: { key: RecordKey; since: number }[] = [];
    const unreadable = (error: unknown): void => {
      logger.error(error, 'what waits in the outbox for one conversation cannot be read');
      this.note(error);
    };
    for await (const { key, pending } of outbox.queues(unreadable)) {
      if (pending > 0) waiting.push({ key, since: this.#queues.get(keyText(key))?.until ?? 0 });
    }
    // One that failed last comes last, so that it is not the only one that ever asks.
    waiting.sort((a, b) => a.since - b.since);
    const next = waiting.values();
    const work = async (): Promise<void> => {
      for (const { key, since } of next) {
        if (this.#stop.signal.aborted || this.#remote.until > clock.now()) return;
        if (since <= clock.now()) await this.send(key);
      }
    };
    // Of a remote that was down one conversation asks, before all others do.
    await Promise.all(Array.from({ length: this.#remote.failures > 0 ? 1 : concurrency }, work));
    if (this.#remote.failures === 0) await Promise.all(Array.from({ length: concurrency }, work));
  }

  /** Sends one conversation, unless somebody does, or it is to be left alone for a while. */
  send(key: RecordKey): Promise<void> {
    const name = keyText(key);
    const now = this.#parts.clock.now();
    if (this.#stop.signal.aborted || this.#remote.until > now) return Promise.resolve();
    if ((this.#queues.get(name)?.until ?? 0) > now) return Promise.resolve();
    const running = this.#sending.get(name);
    if (running) {
      this.#again.add(name);
      return running;
    }
    const sending = this.#send(key, name).finally(() => {
      this.#sending.delete(name);
      return this.#again.delete(name) ? this.send(key) : undefined;
    });
    this.#sending.set(name, sending);
    return sending;
  }

  /** Gives up what is being sent; it stays in the outbox. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#sending.values());
  }

  async #send(key: RecordKey, name: string): Promise<void> {
    const { outbox, leaseMs, logger } = this.#parts;
    const token = uniqueId();
    try {
      const queue = await outbox.claim(key, token, leaseMs);
      if (queue === 'busy' || queue === 'empty') return;
      if (!(await this.#drain(queue, name, token))) await outbox.release(key, token);
    } catch (error) {
      if (this.#stop.signal.aborted) {
        // What was on its way is sent again by whoever comes next, under the same keys.
        await outbox.release(key, token).catch(() => {});
        return;
      }
      if (isAgentUpError(error, 'LEASE_LOST')) return;
      logger.error(error, 'the outbox of a sync could not be worked on');
      this.note(error);
    }
  }

  /** @returns whether everything was sent and the lease given back */
  async #drain(claimed: Queue, name: string, token: string): Promise<boolean> {
    const { outbox, client, leaseMs } = this.#parts;
    let queue = claimed;
    for (;;) {
      if (queue.batches.length === 0) {
        const taken = await this.#take(queue, token);
        if (!taken) {
          if (await outbox.finish(queue, token, queue.session)) return true;
          // Something has come in since: its version and end are not known here.
          queue = { ...queue, ...(await outbox.step(queue, token, leaseMs, queue)) };
          continue;
        }
        queue = taken;
      }
      const [batch, ...rest] = queue.batches as [Batch, ...Batch[]];
      const { session: known } = queue;
      const delivery = await observedDelivery(batch, () => deliver(client, batch, known, this.#stop.signal));
      if (delivery.outcome === 'later') {
        this.#later(name, batch, delivery.error, delivery.down);
        const { session } = delivery;
        // Half of the way need not be gone again.
        if (session !== queue.session) await outbox.step(queue, token, leaseMs, { batches: queue.batches, session });
        return false;
      }
      this.#arrived(name);
      if (delivery.outcome === 'refused') {
        queue = await this.#refused(queue, token, delivery.error, delivery.session);
        continue;
      }
      this.#acknowledged(batch);
      const { session } = delivery;
      const isAll = rest.length === 0 && queue.next >= queue.total;
      if (isAll && (await outbox.finish(queue, token, session))) return true;
      queue = await outbox.step(queue, token, leaseMs, { batches: rest, session });
    }
  }

  /** Takes the next entries out of the log, so that whatever happens they are sent again as they are. */
  async #take(queue: Queue, token: string): Promise<Queue | undefined> {
    const { outbox, leaseMs, events } = this.#parts;
    const { entries, dropped } = await outbox.waiting(queue.key, queue.next);
    if (entries.length === 0) return undefined;
    const batch = firstBatch(entries);
    const next = queue.next + dropped + batch.entries.length;
    const step = { batches: [batch], session: queue.session, taken: { next, dropped } };
    const taken = await outbox.step(queue, token, leaseMs, step);
    if (dropped > 0) {
      this.#parts.logger.warn(`the outbox was full: ${dropped} entries of a conversation were dropped`);
      events.emit('dropped', { target: targetOf(batch), count: dropped });
    }
    return taken;
  }

  /** Halves what was refused until the entry is found that is, and sets it aside. */
  async #refused(queue: Queue, token: string, error: AgentUpError, session: string | undefined): Promise<Queue> {
    const { outbox, dead, events, logger, clock, leaseMs } = this.#parts;
    const [batch, ...rest] = queue.batches as [Batch, ...Batch[]];
    if (batch.entries.length > 1) {
      return outbox.step(queue, token, leaseMs, { batches: [...halves(batch), ...rest], session });
    }
    const entry = batch.entries[0] as OutboxEntry;
    const reason = { code: error.details.reason ?? error.code, message: error.message };
    await dead.put(entry, reason, clock.now());
    logger.error(error, 'the remote refuses an entry of the outbox; it is set aside');
    this.note(error);
    events.emit('dead', { id: entry.id, target: entry.target, work: entry.work, error: reason });
    return outbox.step(queue, token, leaseMs, { batches: rest, session });
  }

  #later(name: string, batch: Batch, error: AgentUpError, down: boolean): void {
    const { clock, random, backoff, events, logger } = this.#parts;
    const now = clock.now();
    const queue = this.#queues.get(name) ?? { failures: 0, until: 0 };
    this.#queues.set(name, queue);
    for (const pause of down ? [queue, this.#remote] : [queue]) {
      pause.failures++;
      pause.until = now + Math.max(error.details.retryAfterMs ?? 0, pauseMs(backoff, pause.failures, random));
    }
    // Once when it begins: an outage is one piece of news.
    if (queue.failures === 1) logger.warn(error, 'the remote of a sync does not take what is sent; it is tried again');
    this.note(error);
    events.emit('failed', { target: targetOf(batch), error, lost: false });
  }

  #arrived(name: string): void {
    this.#remote.failures = 0;
    this.#remote.until = 0;
    this.#queues.delete(name);
  }

  #acknowledged(batch: Batch): void {
    this.lastSuccess = this.#parts.clock.now();
    this.sent += batch.entries.length;
    this.#parts.events.emit('sent', { target: targetOf(batch), count: batch.entries.length });
  }

  /** What `lastError` is from now on. */
  note(error: unknown): void {
    const known = isAgentUpError(error)
      ? error
      : new AgentUpError('SYNC_UNAVAILABLE', messageOf(error), { cause: error });
    this.lastError = { at: this.#parts.clock.now(), error: known };
  }
}

function targetOf(batch: Batch): SyncTarget {
  return batch.entries[0]?.target as SyncTarget;
}
