import type { Clock } from '../clock.js';
import { enclosingTurn } from '../conversation/run-turn.js';
import { isAgentUpError } from '../errors.js';
import type { Logger } from '../logger.js';
import { keyText } from '../storage/keys.js';
import type { Outbox } from './outbox.js';
import type { OutboxEntry, SyncTarget } from './outbox-entry.js';
import { sleep } from './retry.js';
import type { Sender } from './sender.js';
import { TurnOutbox } from './turn-outbox.js';

export interface DeliveryParts {
  readonly outbox: Outbox;
  readonly sender: Sender;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often the outbox is looked through, in milliseconds; `undefined`: nothing is sent unless it is flushed. */
  readonly everyMs: number | undefined;
}

/** The way of an entry into the outbox, and out of it without anybody waiting. */
export class BackgroundDelivery {
  readonly #parts: DeliveryParts;
  readonly #turns: TurnOutbox;
  readonly #stop = new AbortController();
  readonly #background = new Set<Promise<unknown>>();
  readonly #chains = new Map<string, Promise<void>>();
  readonly #looping: Promise<void> | undefined;

  constructor(parts: DeliveryParts) {
    this.#parts = parts;
    this.#turns = new TurnOutbox(parts.outbox, (work) => this.track(work));
    if (parts.everyMs !== undefined) this.#looping = this.#loop(parts.everyMs);
  }

  /** Resolves once the entry would be found after a crash: in the outbox, or with the turn that runs. */
  note(entry: OutboxEntry): Promise<void> {
    const { outbox } = this.#parts;
    const turn = enclosingTurn();
    if (turn && !turn.ended) return this.#turns.add(turn, entry, entry.at);
    // One after the other, in the order of the calls, also where nobody waits for them.
    const name = keyText(outbox.keyOf(entry.target));
    // What a turn before it has committed is on its way to the same queue.
    const before = Promise.all([this.#chains.get(name), ...this.#background]);
    const added = before.then(() => outbox.add(entry));
    const settled = added.catch(() => {});
    this.#chains.set(name, settled);
    void settled.then(() => {
      if (this.#chains.get(name) === settled) this.#chains.delete(name);
    });
    void added.then(
      () => this.nudge(entry.target),
      () => {},
    );
    return added;
  }

  /** Sends a conversation at once, where sending in the background is wanted. */
  nudge(target: SyncTarget): void {
    const { outbox, sender } = this.#parts;
    if (this.#looping) void sender.send(outbox.keyOf(target));
  }

  /** Sends what comes of work that nobody waits for; `flush` and `stop` do. */
  track(work: Promise<readonly OutboxEntry[]>): void {
    const done = work.then(
      (moved) => {
        for (const { target } of moved) this.nudge(target);
      },
      (error) => {
        // It lies in the record of its turn, and is found by the next look.
        if (!this.#stop.signal.aborted) {
          this.#parts.logger.error(error, 'what a turn has to tell could not be moved');
        }
      },
    );
    this.#background.add(done);
    void done.finally(() => this.#background.delete(done));
  }

  /** Sends what waits, also what is to be left alone for a while. */
  async flush(): Promise<void> {
    await Promise.all(this.#background);
    await this.#recover();
    await this.#parts.sender.pass(true);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#background);
    await this.#parts.sender.stop();
    await this.#looping;
  }

  async #recover(): Promise<void> {
    const { clock, logger } = this.#parts;
    await this.#turns.recover(clock.now(), (error) => {
      logger.error(error, 'what a turn of a process that died has to tell could not be moved');
    });
  }

  async #loop(everyMs: number): Promise<void> {
    const { sender, clock, logger } = this.#parts;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#recover();
        await sender.pass();
      } catch (error) {
        if (isAgentUpError(error, 'STORAGE_CLOSED')) return;
        if (!signal.aborted) logger.error(error, 'the outbox of a sync could not be looked through');
      }
      const pause = Math.min(everyMs, Math.max(10, (sender.pausedUntil ?? Number.POSITIVE_INFINITY) - clock.now()));
      await sleep(pause, signal, { ref: false });
    }
  }
}
