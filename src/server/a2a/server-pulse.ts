import { encode } from '../../json.js';
import type { RecordKey } from '../../storage/keys.js';
import type { StateStorage } from '../../storage/state-storage.js';
import { uniqueId } from '../../unique-id.js';

/** How often a server says that it lives, in milliseconds. */
const EVERY_MS = 15_000;
/** A server that has said nothing for so many seconds is gone: as long as no turn could keep its lease either. */
const GONE_AFTER = 60;

/**
 * By what other processes know that this one lives: a record that expires unless it is renewed. A task names the one
 * that works on it; the record is written before the first such task and then aside, never for a message.
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
    return id !== this.id && (await (await this.#storage).read(keyOf(id), { fields: ['alive'] })) === undefined;
  }

  /** Says goodbye, so that nobody has to wait for what is not said any more. Never fails. */
  async end(): Promise<void> {
    this.#ended = true;
    clearInterval(this.#timer);
    if (!this.#begun) return;
    const storage = await this.#storage;
    // It expires by itself where this fails.
    await storage.delete(keyOf(this.id)).catch(() => {});
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
    const change = { op: 'set', field: 'alive', value: encode(true) } as const;
    await (await this.#storage).commit(keyOf(this.id), [change], { expiry: { set: GONE_AFTER } });
  }
}

function keyOf(id: string): RecordKey {
  return { space: 'server', scope: ['alive'], id };
}
