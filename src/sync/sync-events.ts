import type { AgentUpError } from '../errors.js';
import type { Logger } from '../logger.js';
import type { DeadLetter } from './dead-letters.js';
import type { SyncTarget } from './outbox-entry.js';
import type { SyncConflict } from './pull.js';

/** What a sync tells those who listen. */
export interface SyncEvents {
  /** The remote has acknowledged this many entries of one conversation. */
  sent: { readonly target: SyncTarget; readonly count: number };
  /** Sending failed and is tried again; or something could not be put into the outbox (`lost: true`). */
  failed: { readonly target: SyncTarget | undefined; readonly error: AgentUpError; readonly lost: boolean };
  /** The bound of the outbox has cost this many entries, the oldest. */
  dropped: { readonly target: SyncTarget; readonly count: number };
  /** The remote refused an entry for good. */
  dead: Pick<DeadLetter, 'id' | 'target' | 'work' | 'error'>;
  /** A field had changed on both sides. */
  conflict: SyncConflict & { readonly target: SyncTarget };
}

type Listener<K extends keyof SyncEvents> = (event: SyncEvents[K]) => void;

/** Calls listeners. What one throws is logged: it is not the sender's affair. */
export class SyncEmitter {
  readonly #listeners: { [K in keyof SyncEvents]?: Set<Listener<K>> } = {};
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** @returns stops it */
  on<K extends keyof SyncEvents>(event: K, listener: Listener<K>): () => void {
    const known = this.#listeners[event] as Set<Listener<K>> | undefined;
    const listeners = known ?? new Set<Listener<K>>();
    (this.#listeners as Record<string, Set<Listener<K>>>)[event] = listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  emit<K extends keyof SyncEvents>(event: K, value: SyncEvents[K]): void {
    for (const listener of (this.#listeners[event] as Set<Listener<K>> | undefined) ?? []) {
      try {
        listener(value);
      } catch (error) {
        this.#logger.error(error, `a listener for ${event} failed`);
      }
    }
  }
}
