import type { Operation } from './interleaved.js';

/** So many calls until the machine code is there that a server runs after its first minute, or so long at most. */
const CALLS = 2_000;
const AT_MOST_MS = 3_000;

/** Calls each operation until it is as fast as it gets; in small steps, because the slow ones need not be called often. */
export async function warmUp(operations: readonly Operation[], conversations: number): Promise<void> {
  for (const operation of operations) {
    const end = performance.now() + AT_MOST_MS;
    for (let call = 0; call < CALLS && performance.now() < end; call++) await operation(call % conversations);
  }
}
