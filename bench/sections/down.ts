import { startValkey, type ValkeyServer } from '../../test/support/valkey-server.js';
import type { Loaded } from '../subjects.js';
import type { BenchRun, Found } from '../support/bench-run.js';
import { firstLine, shortened } from '../support/first-line.js';
import { table } from '../support/table.js';
import { type Did, startWorker } from '../support/worker-process.js';

const BOUND_MS = 12_000;
const ID = 5_000_000_000;
/** Turns while the server was still there. */
const BEFORE = 3;

interface Way {
  readonly name: string;
  happen(server: ValkeyServer): Promise<void>;
}

const WAYS: readonly Way[] = [
  { name: 'ended (SIGKILL)', happen: (server) => server.kill9() },
  { name: 'stands still (SIGSTOP)', happen: async ({ pid }) => void process.kill(pid, 'SIGSTOP') },
];

interface Row {
  readonly name: string;
  /** What the next turn came to, by the way the server went. */
  readonly outcomes: readonly string[];
}

/** The server goes away under a client that was connected: what becomes of the next turn, and when. */
export async function down(run: BenchRun): Promise<Found> {
  const rows: Row[] = [];
  for (const one of run.loaded.filter(({ subject: { kind } }) => kind === 'valkey')) {
    run.progress(`server down: ${one.subject.name}`);
    const failed = (error: unknown): string => `could not be measured: ${firstLine(error)}`;
    const outcomes = await Promise.all(WAYS.map((way) => outcome(one, way, run).catch(failed)));
    rows.push({ name: one.subject.name, outcomes });
  }
  const head = ['the next turn when the server …', ...WAYS.map(({ name }) => name)];
  const markdown = `The server goes away under a connected client. Bounded at ${BOUND_MS / 1000} s.\n\n${table(
    head,
    rows.map(({ name, outcomes }) => [name, ...outcomes]),
  )}`;
  return { markdown, data: rows };
}

async function outcome(loaded: Loaded, way: Way, { place: { directory } }: BenchRun): Promise<string> {
  const server = await startValkey();
  try {
    const place = { directory, url: server.url.replace('valkey:', 'redis:') };
    const opened = await loaded.subject.open(place);
    await opened.seed(ID, 0);
    await opened.close();
    const worker = await startWorker(loaded, place, ID);
    try {
      await worker.turns(BEFORE, BOUND_MS);
      await way.happen(server);
      const begin = performance.now();
      const did = await worker.turns(1, BOUND_MS).catch((error: unknown) => ({ ended: firstLine(error) }));
      return words(did, performance.now() - begin);
    } finally {
      await worker.end();
    }
  } finally {
    await server.stop();
  }
}

function words(did: Did | { ended: string } | undefined, ms: number): string {
  const after = `after ${ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`}`;
  if (did === undefined) return `nothing for ${BOUND_MS / 1000} s`;
  if ('ended' in did) return `${did.ended} ${after}`;
  if (did.failed > 0) return `error ${after} (${shortened(did.error ?? '')})`;
  return did.visits === BEFORE + 1 ? `success ${after}` : `no error: an empty memory ${after}`;
}
