import type { BenchRun, Found } from '../support/bench-run.js';
import { subjectsOf } from '../support/bench-run.js';
import { conversationId } from '../support/conversation-ids.js';
import { interleaved, type Operation } from '../support/interleaved.js';
import { type Running, withOpened } from '../support/open-all.js';
import { median, quantile } from '../support/samples.js';
import { digits, table } from '../support/table.js';
import { warmUp } from '../support/warm-up.js';

const LENGTHS = [0, 100, 1_000];
const CONVERSATIONS = 40;
/** Only for what is meant to be flat, on fewer conversations and in fewer rounds: they take long to make. */
const LONG = { length: 100_000, conversations: 2 };
/** For warming up: its conversations grow. */
const WARM = { length: -1, conversations: 40 };

interface Row {
  readonly name: string;
  readonly floor: string | undefined;
  /** Microseconds. */
  readonly median: number;
  readonly p99: number;
}
type Column = { readonly length: number; readonly rows: Row[] };

/** One turn after the other: how long each takes. */
export async function turn(run: BenchRun): Promise<Found> {
  const { rounds } = run;
  const columns = await withOpened(
    run,
    subjectsOf(run, () => true),
    async (running) => {
      await warm(run, running);
      const measured: Column[] = [];
      for (const length of LENGTHS) measured.push(await column(run, running, length, CONVERSATIONS, rounds));
      const flat = running.filter(({ subject }) => subject.flat);
      measured.push(await column(run, flat, LONG.length, LONG.conversations, Math.ceil(rounds / 2)));
      return measured;
    },
  );
  return { markdown: markdown(columns, rounds), data: columns };
}

async function warm(run: BenchRun, running: readonly Running[]): Promise<void> {
  run.progress('turns: warming up');
  await seed(running, WARM.length, WARM.conversations, 0);
  await warmUp(turnsOf(running, WARM.length), WARM.conversations);
}

async function seed(running: readonly Running[], ids: number, conversations: number, messages: number): Promise<void> {
  for (const { opened } of running) {
    for (let i = 0; i < conversations; i++) await opened.seed(conversationId(ids, i), messages);
  }
}

function turnsOf(running: readonly Running[], ids: number): Operation[] {
  return running.map(
    ({ opened }) =>
      (conversation) =>
        opened.turn(conversationId(ids, conversation)),
  );
}

async function column(
  run: BenchRun,
  running: readonly Running[],
  length: number,
  conversations: number,
  rounds: number,
): Promise<Column> {
  run.progress(`turns on ${length} messages: making conversations`);
  await seed(running, length, conversations, length);
  run.progress(`turns on ${length} messages: ${rounds * 10} turns each`);
  const samples = await interleaved(turnsOf(running, length), { conversations, rounds });
  const rows = running.map(({ subject: { name, floor } }, index) => {
    const own = samples[index] ?? [];
    return { name, floor, median: median(own), p99: quantile(own, 0.99) };
  });
  return { length, rows };
}

function markdown(columns: readonly Column[], rounds: number): string {
  const head = ['median µs (× its floor), p99 µs', ...columns.map(({ length }) => `${length} messages`)];
  const names = columns[0]?.rows.map(({ name }) => name) ?? [];
  const rows = names.map((name) => [name, ...columns.map(({ rows: own }) => cell(own, name))]);
  const about = `${rounds * 10} turns a cell (half as many at ${LONG.length}), all rows interleaved in one run.`;
  return `${about}\n\n${table(head, rows)}`;
}

function cell(rows: readonly Row[], name: string): string {
  const row = rows.find((one) => one.name === name);
  if (!row) return '–';
  const base = rows.find((one) => one.name === row.floor)?.median;
  const ratio = base === undefined ? '' : ` (${digits(row.median / base)}×)`;
  return `${digits(row.median)}${ratio}, ${digits(row.p99)}`;
}
