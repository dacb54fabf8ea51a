import { type BenchRun, type Found, subjectsOf } from '../support/bench-run.js';
import { conversationId } from '../support/conversation-ids.js';
import { type Running, withOpened } from '../support/open-all.js';
import { median } from '../support/samples.js';
import { digits, table } from '../support/table.js';

const LENGTHS = [0, 1_000];
const CONVERSATIONS = 1_000;
const IN_FLIGHT = 64;
const SLICE_MS = 1_000;
const SEEDED_AT_ONCE = 16;

interface Row {
  readonly name: string;
  readonly floor: string | undefined;
  /** Turns a second, by the messages of the conversations. */
  readonly rates: readonly number[];
}

/** Many conversations at once on one connection: turns a second. */
export async function throughput(run: BenchRun): Promise<Found> {
  const rounds = Math.max(1, Math.min(5, Math.round(run.rounds / 12)));
  const rows = await withOpened(
    run,
    subjectsOf(run, ({ throughput: wanted }) => wanted === true),
    async (running) => {
      const byLength: number[][] = [];
      for (const length of LENGTHS) byLength.push(await rates(run, running, length, rounds));
      return running.map(
        ({ subject: { name, floor } }, index): Row => ({
          name,
          floor,
          rates: byLength.map((all) => all[index] ?? Number.NaN),
        }),
      );
    },
  );
  return { markdown: markdown(rows, rounds), data: rows };
}

/** Slices of a second, in turn, so that the machine's other work falls on all. */
async function rates(run: BenchRun, running: readonly Running[], length: number, rounds: number): Promise<number[]> {
  run.progress(`throughput on ${length} messages: making ${CONVERSATIONS} conversations each`);
  for (const { opened } of running) await seed(opened.seed, length);
  const slices = running.map((): number[] => []);
  for (let round = -1; round < rounds; round++) {
    run.progress(`throughput on ${length} messages: round ${Math.max(0, round + 1)} of ${rounds}`);
    for (const [index, { opened }] of running.entries()) {
      // Or the garbage of whole conversations, parsed and written again, falls on the slice after it.
      globalThis.gc?.();
      const rate = await slice((conversation) => opened.turn(conversationId(length, conversation)));
      // The first round warms up.
      if (round >= 0) slices[index]?.push(rate);
    }
  }
  return slices.map(median);
}

async function seed(make: (id: number, messages: number) => Promise<void>, length: number): Promise<void> {
  for (let from = 0; from < CONVERSATIONS; from += SEEDED_AT_ONCE) {
    const some = Array.from({ length: Math.min(SEEDED_AT_ONCE, CONVERSATIONS - from) }, (_, i) => from + i);
    await Promise.all(some.map((conversation) => make(conversationId(length, conversation), length)));
  }
}

/** Keeps so many turns in flight for a while. No two of one conversation are. */
async function slice(turn: (conversation: number) => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  let next = 0;
  let done = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() - begin < SLICE_MS) {
      await turn(next++ % CONVERSATIONS);
      done++;
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  return (done / (performance.now() - begin)) * 1000;
}

function markdown(rows: readonly Row[], rounds: number): string {
  const head = ['turns/s (share of its floor)', ...LENGTHS.map((length) => `${length} messages`)];
  const cells = rows.map(({ name, floor, rates: own }) => [
    name,
    ...own.map((rate, column) => {
      const base = rows.find((row) => row.name === floor)?.rates[column];
      return base === undefined ? rate.toFixed(0) : `${rate.toFixed(0)} (${digits(rate / base)}×)`;
    }),
  ]);
  const about = `${CONVERSATIONS} conversations, ${IN_FLIGHT} turns in flight, one process and one connection; the median of ${rounds} slices of a second, interleaved.`;
  return `${about}\n\n${table(head, cells)}`;
}
