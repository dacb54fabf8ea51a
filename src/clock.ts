/** Source of the current time: epoch milliseconds. Injected wherever time matters, so that tests move it. */
export interface Clock {
  now(): number;
}

/** The machine's clock. */
export const systemClock: Clock = { now: () => Date.now() };

let lastMs = Number.NaN;
let lastText = '';

/** Epoch milliseconds as ISO 8601 UTC, the form that leaves the library. */
export function toIso(epochMs: number): string {
  // What happens in one millisecond asks for the same text several times, and making it costs a microsecond.
  if (epochMs !== lastMs) {
    lastText = new Date(epochMs).toISOString();
    lastMs = epochMs;
  }
  return lastText;
}
