import { setTimeout as delay } from 'node:timers/promises';
import { type BenchRun, type Found, subjectsOf } from '../support/bench-run.js';
import { conversationId } from '../support/conversation-ids.js';
import { type CountingProxy, countingProxy, type Traffic } from '../support/counting-proxy.js';
import { type Running, withOpened } from '../support/open-all.js';
import { digits, table } from '../support/table.js';

const LENGTHS = [0, 1_000];
const TURNS = 50;
const CONVERSATIONS = 50;
/** What a client does after its answer, such as an index written aside, belongs to the turn. */
const AFTERMATH_MS = 100;

interface Row {
  readonly name: string;
  /** Per turn, by the messages of the conversation. */
  readonly perTurn: readonly Traffic[];
}

/** What a turn sends and receives, and how often it waits. */
export async function traffic(run: BenchRun): Promise<Found> {
  const proxy = await countingProxy(Number(new URL(run.place.url).port));
  try {
    const subjects = subjectsOf(run, ({ kind }) => kind === 'valkey');
    const place = { ...run.place, url: proxy.url };
    const rows = await withOpened(
      run,
      subjects,
      async (running) => {
        const found: Row[] = [];
        for (const one of running) found.push(await row(run, one, proxy));
        return found;
      },
      place,
    );
    return { markdown: markdown(rows), data: rows };
  } finally {
    await proxy.close();
  }
}

async function row(run: BenchRun, { subject: { name }, opened }: Running, proxy: CountingProxy): Promise<Row> {
  run.progress(`traffic: ${name}`);
  const perTurn: Traffic[] = [];
  for (const length of LENGTHS) {
    const ids = Array.from({ length: CONVERSATIONS }, (_, i) => conversationId(length, i));
    for (const id of ids) await opened.seed(id, length);
    await delay(AFTERMATH_MS);
    const before = proxy.read();
    for (let i = 0; i < TURNS; i++) await opened.turn(ids[i % CONVERSATIONS] as number);
    await delay(AFTERMATH_MS);
    const after = proxy.read();
    const each = (key: keyof Traffic): number => (after[key] - before[key]) / TURNS;
    perTurn.push({ out: each('out'), in: each('in'), commands: each('commands'), roundTrips: each('roundTrips') });
  }
  return { name, perTurn };
}

function markdown(rows: readonly Row[]): string {
  const columns = LENGTHS.flatMap((length) => [`bytes out, ${length} messages`, 'bytes in', 'commands', 'round trips']);
  const cells = rows.map(({ name, perTurn }) => [
    name,
    ...perTurn.flatMap((one) => [one.out, one.in, one.commands, one.roundTrips].map(count)),
  ]);
  return `Per turn, ${TURNS} turns, counted between client and server.\n\n${table(['', ...columns], cells)}`;
}

function count(value: number): string {
  return Number.isInteger(value) ? String(value) : digits(value);
}
