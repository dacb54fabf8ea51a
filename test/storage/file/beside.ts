import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, expect } from 'vitest';
import { FileStorage } from '../../../src/storage/file/file-storage.js';
import { compiledWorker } from '../../support/compiled-workers.js';
import type { Command } from './beside.worker.js';
import { between } from './between.js';

export const key = { space: 'contexts', scope: [], id: 'c' };
/** So long one process stands still in the middle of a step, at most, for the other one to come. */
const STAND_MS = 30;

let root: string;
/** Of the storages that are looked at now. */
export let directory: string;
let other: ChildProcessByStdio<Writable, Readable, null>;
let answers: AsyncIterableIterator<string>;
let rounds = 0;

/** Others, in a process of their own, for all tests of a file. */
export function besideAnother(): void {
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'agentup-sole-'));
    const worker = compiledWorker(join(import.meta.dirname, 'beside.worker.ts'));
    other = spawn(process.execPath, ['--enable-source-maps', worker], { stdio: ['pipe', 'pipe', 'inherit'] });
    answers = createInterface({ input: other.stdout })[Symbol.asyncIterator]();
  });
  afterAll(async () => {
    other.stdin.end();
    await once(other, 'exit');
    await rm(root, { recursive: true, force: true });
  });
  beforeEach(anew);
}

/** Goes on in another directory. */
export function anew(): void {
  directory = join(root, `d${rounds++}`);
}

export const exists = fs.existsSync;
const send = (act: Command['act'], sign?: string, id = 'c'): void => {
  other.stdin.write(`${JSON.stringify({ directory, id, act, ...(sign && { sign }) } satisfies Command)}\n`);
};
/** What the other one says to what it was sent. */
export const answer = async (): Promise<string> => (await answers.next()).value;
/** Has the other one do something, and waits until it is done. */
export const otherDoes = async (act: Command['act'], id?: string): Promise<void> => {
  send(act, undefined, id);
  expect(await answer()).toBe('done');
};

/** Has the other process begin something, and stands still until it is done, or for as long as that may take. */
export function standWhileOther(act: Command['act']): void {
  const sign = join(root, `sign${rounds++}`);
  send(act, sign);
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const began = process.hrtime.bigint();
  while (!exists(sign) && Number(process.hrtime.bigint() - began) < STAND_MS * 1e6) Atomics.wait(pause, 0, 0, 1);
}

const STEPS = [
  'closeSync',
  'fchmodSync',
  'fstatSync',
  'ftruncateSync',
  'futimesSync',
  'linkSync',
  'mkdirSync',
  'openSync',
  'readdirSync',
  'readFileSync',
  'readSync',
  'renameSync',
  'rmSync',
  'statSync',
  'unlinkSync',
  'utimesSync',
  'writeFileSync',
  'writeSync',
] as const satisfies readonly (keyof typeof fs)[];

/** `between`, for all that writing makes; or from the `at`th on. Says which step that was. */
export function atStep(
  at: number,
  meddle: (first: boolean, step: string) => void,
  call: () => Promise<unknown>,
  onwards = false,
): Promise<string | undefined> {
  return between(at, meddle, call, { steps: STEPS, onwards, root: directory });
}

/** What one storage does here, and how much of it there is to be found afterwards. */
export class Doing {
  storage = new FileStorage({ storageDir: directory });
  commits = 0;
  turns = 0;
  #token = 0;
  #read = 0;

  get token(): string {
    return `t${this.#token}`;
  }

  async commit(big = ''): Promise<void> {
    await this.storage.commit(key, [
      { op: 'increment', field: 'n', by: 1 },
      { op: 'log', entry: '"here"' },
      ...(big === '' ? [] : [{ op: 'set' as const, field: 'big', value: JSON.stringify(big) }]),
    ]);
    this.commits++;
  }

  async begin(): Promise<void> {
    this.#token++;
    while (!(await this.tryBegin())) await new Promise((done) => setTimeout(done, 5));
  }

  async tryBegin(): Promise<boolean> {
    const begun = await this.storage.begin(key, { token: this.token, leaseMs: 60_000 });
    if (begun.busy) return false;
    this.#read = Number(begun.record?.fields.get('turns') ?? 0);
    return true;
  }

  /** Ends a turn; with `pass` the next one begins in the same step, unless somebody else waits. */
  async finish(pass = false): Promise<void> {
    const next = { token: `t${this.#token + 1}`, leaseMs: 60_000 };
    const answer = await this.storage.commit(
      key,
      [
        { op: 'increment', field: 'n', by: 1 },
        { op: 'log', entry: '"here"' },
        { op: 'set', field: 'turns', value: String(this.#read + 1) },
      ],
      { lease: { token: this.token, ...(pass && { next }) } },
    );
    this.commits++;
    this.turns++;
    if (!pass || !answer.committed) return;
    if (!answer.begun) return this.begin();
    this.#token++;
    this.#read = Number(answer.begun.record?.fields.get('turns'));
  }

  async again(): Promise<void> {
    const { storage } = this;
    this.storage = new FileStorage({ storageDir: directory });
    await storage.close();
  }
}

/** Each commit is there once, turns did not overlap, and nobody has left anything that could be in the way. */
export async function check(step: string, commits: number, turns: number): Promise<void> {
  const reader = new FileStorage({ storageDir: directory });
  const record = await reader.read(key, { log: 1_000 });
  expect(
    [
      Number(record?.fields.get('n') ?? 0),
      record?.log.length ?? 0,
      record?.version ?? 0,
      Number(record?.fields.get('turns') ?? 0),
    ],
    step,
  ).toEqual([commits, commits, commits, turns]);
  await reader.close();
  const beside = await readdir(join(directory, 'contexts')).catch(() => []);
  expect(
    beside.filter((name) => name !== 'c.jsonl'),
    step,
  ).toEqual([]);
  expect(await readdir(join(directory, '.processes')).catch(() => []), step).toEqual([]);
}

/** What one storage does while others come. */
export interface Case {
  readonly name: string;
  /** Before the steps that are looked at. */
  readonly prepare?: (here: Doing) => Promise<unknown>;
  readonly call: (here: Doing) => Promise<unknown>;
  /** What is left to be done. */
  readonly rest?: (here: Doing) => Promise<unknown>;
}

export const CASES: Case[] = [
  { name: 'commits', prepare: (here) => here.commit(), call: (here) => here.commit() },
  { name: 'makes a record', prepare: (here) => here.storage.ping(), call: (here) => here.commit() },
  {
    name: 'begins a turn',
    prepare: (here) => here.commit(),
    call: (here) => here.begin(),
    rest: (here) => here.finish(),
  },
  {
    name: 'ends a turn',
    prepare: (here) => here.commit().then(() => here.begin()),
    call: (here) => here.finish(),
  },
  {
    name: 'passes a turn on',
    prepare: (here) => here.commit().then(() => here.begin()),
    call: (here) => here.finish(true),
    rest: (here) => here.finish(),
  },
  {
    name: 'rewrites a record',
    prepare: async (here) => {
      for (const letter of 'abc') await here.commit(letter.repeat(150_000));
    },
    // Closing waits for it.
    call: (here) => here.commit('d'.repeat(150_000)).then(() => here.again()),
  },
  {
    name: 'is the only one again',
    prepare: async (here) => {
      await otherDoes('ping');
      await here.commit();
      await here.begin();
      await otherDoes('close');
    },
    call: async (here) => {
      const { now } = performance;
      performance.now = () => now.call(performance) + 60_000;
      await here.commit().finally(() => {
        performance.now = now;
      });
    },
    rest: (here) => here.finish(),
  },
  { name: 'enters', call: (here) => here.commit() },
  { name: 'closes', prepare: (here) => here.commit(), call: (here) => here.again() },
];
