/** When to ask again. */
export interface Backoff {
  /** The first pause at most, in milliseconds; each further one may be twice as long. */
  readonly baseMs: number;
  /** No pause is longer, unless the remote asks for it. */
  readonly maxMs: number;
}

/** `random` from 0 to 1: full jitter, so that many clients do not come back at the same moment. */
export function pauseMs({ baseMs, maxMs }: Backoff, failures: number, random: () => number): number {
  return random() * Math.min(maxMs, baseMs * 2 ** Math.max(0, failures - 1));
}

/** Milliseconds that a `Retry-After` asks for: seconds, or a date. `undefined` where it says neither. */
export function retryAfterMs(header: string | null, now: number): number | undefined {
  const text = header?.trim() ?? '';
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const at = text === '' ? Number.NaN : Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}

/** Resolves after a while, or at once when the signal aborts. `ref: false`: a process with nothing else to do ends. */
export function sleep(ms: number, signal?: AbortSignal, { ref = true } = {}): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    // Where a browser runs this nobody asks for it: its timers have none.
    if (!ref) timer.unref();
    signal?.addEventListener('abort', done, { once: true });
  });
}
