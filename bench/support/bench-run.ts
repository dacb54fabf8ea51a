import type { Place, Subject } from '../subject.js';
import type { Loaded } from '../subjects.js';

/** What a section of the benchmark is given. */
export interface BenchRun {
  readonly loaded: readonly Loaded[];
  readonly peers: boolean;
  /** A Valkey and a directory for this section alone. */
  readonly place: Place;
  /** Rounds of ten turns each. */
  readonly rounds: number;
  /** What is being done now. */
  progress(line: string): void;
  /** What cannot be measured here, and why. Goes into the report. */
  leaveOut(line: string): void;
}

/** What a section has found. */
export interface Found {
  readonly markdown: string;
  readonly data: unknown;
}

export type Section = (run: BenchRun) => Promise<Found>;

/** The subjects that a section is about. */
export function subjectsOf({ loaded }: BenchRun, wanted: (subject: Subject) => boolean): Subject[] {
  return loaded.map(({ subject }) => subject).filter(wanted);
}
