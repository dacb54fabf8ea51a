/** One row of the table: something that is done once, on the conversation with this number. */
export interface Case {
  readonly name: string;
  /** The row that this one is divided by. */
  readonly floor?: string;
  /** Returns what one measured operation is. */
  prepare(existing: number): Promise<(conversation: number) => Promise<unknown>>;
}

export interface Result {
  readonly name: string;
  readonly floor: string | undefined;
  /** Microseconds. */
  readonly median: number;
  readonly p99: number;
}

const CONVERSATIONS = 40;
const BATCH = 10;

/**
 * Runs all cases in turn, a batch each, round after round, so that whatever else the machine does in the meantime
 * falls on all of them. Few operations go to each conversation: its length stays what it is said to be.
 */
export async function interleaved(cases: readonly Case[], existing: number, rounds: number): Promise<Result[]> {
  const running: { case: Case; operation: (conversation: number) => Promise<unknown>; samples: number[] }[] = [];
  for (const one of cases) running.push({ case: one, operation: await one.prepare(existing), samples: [] });
  for (let round = -2; round < rounds; round++) {
    for (const { operation, samples } of running) {
      for (let i = 0; i < BATCH; i++) {
        const begin = process.hrtime.bigint();
        await operation((Math.max(round, 0) * BATCH + i) % CONVERSATIONS);
        // The first rounds warm up.
        if (round >= 0) samples.push(Number(process.hrtime.bigint() - begin) / 1000);
      }
    }
  }
  return running.map(({ case: { name, floor }, samples }) => {
    samples.sort((a, b) => a - b);
    const at = (share: number): number => samples[Math.floor(samples.length * share)] ?? Number.NaN;
    return { name, floor, median: at(0.5), p99: at(0.99) };
  });
}

/** Prepares every conversation that a case will use. */
export async function forEachConversation(prepare: (conversation: number) => Promise<void>): Promise<void> {
  for (let conversation = 0; conversation < CONVERSATIONS; conversation++) await prepare(conversation);
}

/** A Markdown table: medians, and each row as a multiple of its floor. */
export function table(lengths: readonly number[], results: readonly (readonly Result[])[]): string {
  const head = ['median µs (× its floor)', ...lengths.map((length) => `${length} messages`)];
  const rows = (results[0] ?? []).map(({ name }, row) => [
    name,
    ...results.map((column) => {
      const { median, floor } = column[row] as Result;
      const base = column.find((other) => other.name === floor)?.median;
      return base === undefined ? median.toFixed(1) : `${median.toFixed(1)} (${(median / base).toFixed(2)}×)`;
    }),
  ]);
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
