import type { Opened, Place, Subject } from '../subject.js';
import type { BenchRun } from './bench-run.js';
import { firstLine } from './first-line.js';

export interface Running {
  readonly subject: Subject;
  readonly opened: Opened;
}

/** Opens subjects, leaving out with a line what cannot be opened or fails its first turn; closes them after `use`. */
export async function withOpened<Result>(
  run: BenchRun,
  subjects: readonly Subject[],
  use: (running: Running[]) => Promise<Result>,
  place: Place = run.place,
): Promise<Result> {
  const running: Running[] = [];
  try {
    for (const subject of subjects) {
      const opened = await tried(subject, place, run);
      if (opened) running.push({ subject, opened });
    }
    return await use(running);
  } finally {
    await Promise.all(running.map(({ opened }) => opened.close()));
  }
}

/** Far from the ids of the sections. */
const TRIAL = 1;

async function tried(subject: Subject, place: Place, run: BenchRun): Promise<Opened | undefined> {
  let opened: Opened | undefined;
  try {
    opened = await subject.open(place);
    await opened.seed(TRIAL, 0);
    await opened.turn(TRIAL);
    return opened;
  } catch (error) {
    run.leaveOut(`${subject.name}: ${firstLine(error)}`);
    await opened?.close().catch(() => {});
    return undefined;
  }
}
