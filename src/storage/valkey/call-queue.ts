/** Something with an end, that is over or not. */
export interface Timed {
  /** Monotonic milliseconds. */
  readonly deadline: number;
  settled: boolean;
}

/**
 * Calls in the order they were made, which is the order of their deadlines. An array with a moving head: a `Set`
 * that is filled and emptied all the time leaves a trail of tables behind, and the garbage collector with a third of
 * the client's time.
 */
export class CallQueue<Call extends Timed> {
  #calls: (Call | undefined)[] = [];
  #head = 0;
  #open = 0;

  /** How many are not settled. */
  get size(): number {
    return this.#open;
  }

  add(call: Call): void {
    this.#calls.push(call);
    this.#open++;
  }

  /** Marks a call as settled; `false` when it was already. */
  settle(call: Call): boolean {
    if (call.settled) return false;
    call.settled = true;
    this.#open--;
    if (this.#calls[this.#head] === call) this.#advance();
    return true;
  }

  /** The call that is open longest. */
  first(): Call | undefined {
    return this.#calls[this.#head];
  }

  #advance(): void {
    const calls = this.#calls;
    let head = this.#head;
    while (head < calls.length && calls[head]?.settled !== false) calls[head++] = undefined;
    if (head === calls.length) {
      calls.length = 0;
      head = 0;
    } else if (head > 1_000) {
      calls.splice(0, head);
      head = 0;
    }
    this.#head = head;
  }
}
