import { KeyedBag } from '../bag.js';
import { keyText, type RecordKey } from '../storage/keys.js';

/** Loads under way in this process: who wants the same at the same time waits for the one that is. */
export class SingleFlight {
  readonly #running = new KeyedBag<Promise<unknown>>();

  once<T>(key: RecordKey, load: () => Promise<T>): Promise<T> {
    const name = keyText(key);
    const running = this.#running.get(name) as Promise<T> | undefined;
    if (running) return running;
    const started = load().finally(() => this.#running.delete(name));
    this.#running.set(name, started);
    return started;
  }
}
