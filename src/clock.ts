/** Source of the current time: epoch milliseconds. Injected wherever time matters, so that tests move it. */
export interface Clock {
  now(): number;
}

/** The machine's clock. */
export const systemClock: Clock = { now: () => Date.now() };

/** Epoch milliseconds as ISO 8601 UTC, the form that leaves the library. */
export function toIso(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
