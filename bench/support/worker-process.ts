import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Place } from '../subject.js';
import type { Loaded } from '../subjects.js';

/** What a worker is started with. */
export interface Job {
  readonly module: string;
  readonly name: string;
  readonly place: Place;
  /** The conversation it works on. */
  readonly id: number;
}

/** What it is told: to do so many turns, one after the other. */
export interface Ask {
  readonly turns: number;
}

export interface Did {
  readonly failed: number;
  /** The first error's code, or its text. */
  readonly error: string | undefined;
  /** What the last turn that succeeded counted. */
  readonly visits: number | undefined;
  readonly ms: number;
}

export interface Worker {
  /** Does turns; `undefined` when they took longer than this, an error when the process ended instead. */
  turns(count: number, withinMs: number): Promise<Did | undefined>;
  end(): Promise<void>;
}

const START_MS = 30_000;

/** Starts a process that does turns on a subject. It ends with this one. */
export async function startWorker({ subject, module }: Loaded, place: Place, id: number): Promise<Worker> {
  const job: Job = { module, name: subject.name, place, id };
  const program = fileURLToPath(new URL('worker.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', program, JSON.stringify(job)], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let complaint = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    if (complaint.length < 4_000) complaint += text;
  });
  const ended = once(child, 'close');
  const end = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  const answer = (withinMs: number): Promise<unknown> => next(child, ended, withinMs, () => complaint);
  const ready = await answer(START_MS).catch(async (error: unknown) => {
    await end();
    throw error;
  });
  if (ready === undefined) {
    await end();
    throw new Error(`not ready after ${START_MS} ms`);
  }
  return {
    turns: (turns, withinMs) => {
      child.send({ turns } satisfies Ask);
      return answer(withinMs) as Promise<Did | undefined>;
    },
    end,
  };
}

/** The next message, `undefined` when it does not come in time. */
function next(child: ChildProcess, ended: Promise<unknown>, withinMs: number, why: () => string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      clearTimeout(late);
      child.off('message', resolve);
    };
    const late = setTimeout(() => resolve(undefined), withinMs);
    child.once('message', resolve);
    child.once('message', settle);
    void ended.then(() => {
      settle();
      const said =
        why()
          .split('\n')
          .find((line) => /error/i.test(line)) ?? 'without a word';
      reject(new Error(`the process ended: ${said.trim()}`));
    });
  });
}
