import type { Subject } from '../subject.js';
import { type BenchRun, type Found, subjectsOf } from '../support/bench-run.js';
import { conversationId } from '../support/conversation-ids.js';
import { withOpened } from '../support/open-all.js';
import { median } from '../support/samples.js';
import { digits, table } from '../support/table.js';

const AT_ONCE = 16;
const LENGTH = 100;
const CONVERSATIONS = 10;

/** Many messages of one conversation at once: what each takes, as they have to be handled one after the other. */
export async function queue(run: BenchRun): Promise<Found> {
  const rounds = Math.max(5, Math.round(run.rounds / 2));
  const rows = await withOpened(
    run,
    subjectsOf(run, ({ name, flat, queues }) => queues === true || (flat === true && isScriptFloor(name))),
    async (running) => {
      for (const { opened } of running) {
        for (let i = 0; i < CONVERSATIONS; i++) await opened.seed(conversationId(LENGTH, i), LENGTH);
      }
      const samples = running.map((): { waited: number[]; alone: number[] } => ({ waited: [], alone: [] }));
      for (let round = -5; round < rounds; round++) {
        run.progress(`queue: round ${Math.max(0, round + 1)} of ${rounds}`);
        const id = conversationId(LENGTH, Math.abs(round) % CONVERSATIONS);
        for (const [index, { subject, opened }] of running.entries()) {
          const turn = () => opened.turn(id);
          const alone = await timed(oneByOne(turn));
          const waited = subject.queues ? await timed(atOnce(turn)) : alone;
          if (round < 0) continue;
          samples[index]?.alone.push(alone);
          samples[index]?.waited.push(waited);
        }
      }
      return running.map(({ subject }, index) => ({
        subject,
        alone: median(samples[index]?.alone ?? []),
        waited: median(samples[index]?.waited ?? []),
      }));
    },
  );
  const cells = rows.map(({ subject: { name, queues }, alone, waited }) => [
    name,
    digits(alone),
    queues ? `${digits(waited)} (${digits(waited / alone)}×)` : '–',
  ]);
  const head = ['µs a turn', 'one after the other', `${AT_ONCE} waiting (× the column before)`];
  const about = `${AT_ONCE} turns of one conversation of ${LENGTH} messages; the median of ${rounds}, interleaved.`;
  return {
    markdown: `${about}\n\n${table(head, cells)}`,
    data: rows.map(({ subject, ...row }) => ({ name: subject.name, ...row })),
  };
}

function isScriptFloor(name: Subject['name']): boolean {
  return name.includes('script');
}

function oneByOne(turn: () => Promise<unknown>): () => Promise<void> {
  return async () => {
    for (let i = 0; i < AT_ONCE; i++) await turn();
  };
}

function atOnce(turn: () => Promise<unknown>): () => Promise<unknown> {
  return () => Promise.all(Array.from({ length: AT_ONCE }, turn));
}

/** Microseconds for each of the turns. */
async function timed(turns: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await turns();
  return ((performance.now() - begin) * 1000) / AT_ONCE;
}
