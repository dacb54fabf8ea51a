import type { Clock } from '../../src/clock.js';

/** A clock that stands still until it is moved. */
export class TestClock implements Clock {
  #now: number;

  constructor(now = Date.UTC(2026, 0, 2, 3, 4, 5)) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  advance(ms: number): void {
    this.#now += ms;
  }
}
