import { RESERVATION_MS } from './state-storage.js';

/** Who holds the lease of a record, and who may have it next; moments are epoch milliseconds. */
interface Gate {
  token: string;
  until: number;
  next: string;
  nextUntil: number;
}

/** The leases of a storage that lives in this process, by the text of the record's key. */
export class MemoryLeases {
  readonly #gates = new Map<string, Gate>();

  /** Takes or renews a lease. @returns 0, or for how many milliseconds it is not to be had */
  take(text: string, token: string, leaseMs: number, now: number): number {
    let gate = this.#gates.get(text);
    if (!gate) {
      gate = { token: '', until: 0, next: '', nextUntil: 0 };
      this.#gates.set(text, gate);
    }
    const held = gate.until > now;
    const reserved = gate.nextUntil > now;
    if (held ? gate.token !== token : reserved && gate.next !== token) {
      if (!reserved || gate.next === token) {
        gate.next = token;
        gate.nextUntil = now + RESERVATION_MS;
      }
      return (held ? gate.until : gate.nextUntil) - now;
    }
    gate.token = token;
    gate.until = now + leaseMs;
    if (gate.next === token) gate.nextUntil = 0;
    return 0;
  }

  holds(text: string, token: string, now: number): boolean {
    const gate = this.#gates.get(text);
    return gate?.token === token && gate.until > now;
  }

  isHeld(text: string, now: number): boolean {
    return (this.#gates.get(text)?.until ?? 0) > now;
  }

  /** Renews the lease of who holds it, or without `keepMs` ends it. */
  settle(text: string, keepMs: number | undefined, now: number): void {
    const gate = this.#gates.get(text);
    if (!gate) return;
    if (keepMs !== undefined) gate.until = now + keepMs;
    else if (gate.nextUntil > now) gate.until = 0;
    else this.#gates.delete(text);
  }

  /** Forgets what has ended. */
  purge(now: number): void {
    for (const [text, gate] of this.#gates) {
      if (gate.until <= now && gate.nextUntil <= now) this.#gates.delete(text);
    }
  }

  clear(): void {
    this.#gates.clear();
  }
}
