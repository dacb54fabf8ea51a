import type { RecordKey } from '../../storage/keys.js';
import type { StateStorage } from '../../storage/state-storage.js';
import { uniqueId } from '../../unique-id.js';

/** How often a server says that it lives, in milliseconds. */
const EVERY_MS = 15_000;
/** A server that has said nothing for so many milliseconds is gone: as long as no turn could keep its lease either. */
const GONE_AFTER_MS = 60_000;
/** All who look whether a server lives ask as one, so that none of them takes another for it. */
const LOOK = { token: 'look', leaseMs: 1000 };

/**
 * By what other processes know that this one lives: a lease that ends unless it is renewed, on a record that does not
 * exist. A task names the server that works on it; the lease is taken before the first such task and renewed aside,
 * never for a message. A storage that sees that a process is dead knows it before the lease has ended, and nothing
 * that moves or removes records touches it.
 */
export class ServerPulse {
  readonly id = uniqueId();
  readonly #storage: StateStorage | Promise<StateStorage>;
  #begun: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(storage: StateStorage | Promise<StateStorage>) {
    this.#storage = storage;
  }

  /** Does nothing where it has begun, or ended. @throws STORAGE_UNAVAILABLE */
  begin(): Promise<void> {
    // What a cancelled turn still says is nothing to wait for, and nobody would end it again.
    if (this.#ended) return Promise.resolve();
    this.#begun ??= this.#begin();
    return this.#begun;
  }

  /** Is that server gone for sure? */
  async isGone(id: string): Promise<boolean> {
    if (id === this.id) return false;
    const storage = await this.#storage;
    if ((await storage.begin(keyOf(id), LOOK)).busy) return false;
    // It ends by itself where this fails, as where somebody else who looked was faster.
    await storage.commit(keyOf(id), [], { lease: LOOK }).catch(() => {});
    return true;
  }

  /** Says goodbye, so that nobody has to wait for what is not said any more. Never fails. */
  async end(): Promise<void> {
    this.#ended = true;
    clearInterval(this.#timer);
    if (!this.#begun) return;
    const storage = await this.#storage;
    // It ends by itself where this fails.
    await storage.commit(keyOf(this.id), [], { lease: { token: this.id } }).catch(() => {});
  }

  async #begin(): Promise<void> {
    try {
      await this.#beat();
    } catch (error) {
      this.#begun = undefined;
      throw error;
    }
    if (this.#ended) return;
    // A beat that fails is followed by three more before anybody takes this server for gone.
    this.#timer = setInterval(() => void this.#beat().catch(() => {}), EVERY_MS).unref();
  }

  async #beat(): Promise<void> {
    await (await this.#storage).begin(keyOf(this.id), { token: this.id, leaseMs: GONE_AFTER_MS });
  }
}

function keyOf(id: string): RecordKey {
  return { space: 'server', scope: ['alive'], id };
}
