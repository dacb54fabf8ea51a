/** An operation, done on the conversation with this number. */
export type Operation = (conversation: number) => Promise<unknown>;

export interface Interleaving {
  /** Conversations, used one after the other: few operations go to each, so its length stays what it is said to be. */
  readonly conversations: number;
  readonly rounds: number;
}

const BATCH = 10;
const WARM_UP_ROUNDS = 5;

/**
 * Runs all operations in turn, a batch each, round after round, so that whatever else the machine does in the
 * meantime falls on all of them.
 * @returns the microseconds of every call, in the order of `operations`
 */
export async function interleaved(
  operations: readonly Operation[],
  { conversations, rounds }: Interleaving,
): Promise<number[][]> {
  const samples = operations.map((): number[] => []);
  let next = 0;
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (const [index, operation] of operations.entries()) {
      for (let i = 0; i < BATCH; i++) {
        const begin = process.hrtime.bigint();
        await operation((next + i) % conversations);
        if (round >= 0) samples[index]?.push(Number(process.hrtime.bigint() - begin) / 1000);
      }
    }
    next += BATCH;
  }
  return samples;
}
