/**
 * Time in which this process ran. While its event loop stands still, because a handler computes or the machine is
 * busy, it reads no answer, and must not take that for the silence of a server.
 */
export class RunningTime {
  #stoodMs = 0;

  /** Monotonic milliseconds. */
  now(): number {
    return performance.now() - this.#stoodMs;
  }

  /** Calls after so many milliseconds; by as much as it is late the process stood still. Keeps no process alive. */
  after(ms: number, call: () => void): NodeJS.Timeout {
    const due = performance.now() + ms;
    return setTimeout(() => {
      this.#stoodMs += Math.max(0, performance.now() - due);
      call();
    }, ms).unref();
  }
}
