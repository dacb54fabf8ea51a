import { setTimeout as delay } from 'node:timers/promises';
import type { Left } from '../subject.js';
import type { Loaded } from '../subjects.js';
import type { BenchRun, Found } from '../support/bench-run.js';
import { firstLine, shortened } from '../support/first-line.js';
import { table } from '../support/table.js';
import { type Did, startWorker, type Worker } from '../support/worker-process.js';

const PROCESSES = 2;
const TURNS = 200;
const PATIENCE_MS = 60_000;
/** What a library hands to another process to do is done when nothing has changed for so long. */
const QUIET_MS = 1_000;
const ID = 4_000_000_000;

interface Row {
  readonly name: string;
  /** Undefined when what was left could not be read. */
  readonly left: Left | undefined;
  readonly failed: number;
  readonly error: string | undefined;
}

/** Two processes on one conversation: what is left of their turns. */
export async function lost(run: BenchRun): Promise<Found> {
  const rows: Row[] = [];
  for (const one of run.loaded.filter(({ subject: { kind, shared } }) => kind !== 'memory' && shared !== false)) {
    run.progress(`lost updates: ${one.subject.name}`);
    try {
      const row = await race(one, run);
      if (row) rows.push(row);
    } catch (error) {
      run.leaveOut(`${one.subject.name} (lost updates): ${firstLine(error)}`);
    }
  }
  return { markdown: markdown(rows), data: rows };
}

async function race(loaded: Loaded, { place }: BenchRun): Promise<Row | undefined> {
  const opened = await loaded.subject.open(place);
  const workers: Worker[] = [];
  try {
    if (!opened.look) return undefined;
    await opened.seed(ID, 0);
    for (let i = 0; i < PROCESSES; i++) workers.push(await startWorker(loaded, place, ID));
    const all = await Promise.all(workers.map((worker) => worker.turns(TURNS, PATIENCE_MS)));
    if (all.includes(undefined)) throw new Error(`not done after ${PATIENCE_MS} ms`);
    const did = all as Did[];
    const row = {
      name: loaded.subject.name,
      failed: did.reduce((sum, { failed }) => sum + failed, 0),
      error: did.find(({ error }) => error !== undefined)?.error,
    };
    try {
      return { ...row, left: await settled(() => opened.look?.(ID) as Promise<Left>) };
    } catch (error) {
      return { ...row, left: undefined, error: row.error ?? firstLine(error) };
    }
  } finally {
    await Promise.all(workers.map((worker) => worker.end()));
    await opened.close();
  }
}

async function settled(look: () => Promise<Left>): Promise<Left> {
  const end = performance.now() + PATIENCE_MS;
  for (let left = await look(); ; ) {
    await delay(QUIET_MS);
    const now = await look();
    if (now.visits === left.visits && now.messages === left.messages) return now;
    if (performance.now() > end) throw new Error(`still changing after ${PATIENCE_MS} ms`);
    left = now;
  }
}

function markdown(rows: readonly Row[]): string {
  const turns = PROCESSES * TURNS;
  const cells = rows.map(({ name, left, failed, error }) => [
    name,
    ...(left ? [of(left.visits, turns), of(left.messages, 2 * turns)] : ['unreadable', 'unreadable']),
    error === undefined ? 'none' : `${failed} (${shortened(error)})`,
  ]);
  const head = ['', 'increments left', 'messages left', 'turns that failed'];
  return `${PROCESSES} processes, ${TURNS} turns each, on one conversation.\n\n${table(head, cells)}`;
}

function of(count: number | undefined, all: number): string {
  return count === undefined ? '–' : `${count} of ${all}`;
}
