import assert from 'node:assert/strict';
import type { AgentUpError, ErrorCode } from '../errors.js';
import type { RecordKey } from '../storage/keys.js';
import type {
  Change,
  CommitOptions,
  Committed,
  ListQuery,
  Refused,
  StateRecord,
  StateStorage,
} from '../storage/state-storage.js';

/** The backend under test. */
export interface ConformanceBackend {
  /** Heads the report. */
  readonly name: string;
  /** A storage over data that nobody else uses. Called once; a second time only where `reopen` is missing. */
  open(): Promise<StateStorage>;
  /**
   * One more instance over the data of the one from `open`, as another process would have. A backend that several
   * processes may use, or whose data outlives the process, must give this: without it the checks across instances
   * and across reopening are left out.
   */
  reopen?(): Promise<StateStorage>;
  /** Moves the clock that was injected. Without it the suite waits in real time, a few seconds for all of it. */
  advance?(ms: number): Promise<void>;
  /** Called when all is done and every instance is closed: removes what the suite has left behind. */
  cleanup?(): Promise<void>;
}

/** What the suite needs of a test runner: vitest and jest as they are, `node:test` with `afterAll: after`. */
export interface ConformanceRunner {
  describe(name: string, body: () => void): unknown;
  it(name: string, body: () => Promise<void>): unknown;
  afterAll(body: () => Promise<void>): unknown;
}

/** What one test works with: the shared storage, in a space that no other test knows. */
export interface Bench {
  readonly storage: StateStorage;
  readonly space: string;
  key(id?: string, ...scope: string[]): RecordKey;
  /** A second instance over the same data, open for the rest of the suite. Only where the backend can reopen. */
  second(): Promise<StateStorage>;
  /** A further instance, to be closed by the test. */
  fresh(): Promise<StateStorage>;
  /** Lets time pass. */
  pass(ms: number): Promise<void>;
}

type Body = (bench: Bench) => Promise<void>;

/** Registers tests with the runner and gives each its bench. */
export class Harness {
  readonly backend: ConformanceBackend;
  readonly #runner: ConformanceRunner;
  readonly #run = Math.random().toString(36).slice(2, 8);
  readonly #opened: StateStorage[] = [];
  readonly #timed: { body: Body; result?: Promise<void> }[] = [];
  #spaces = 0;
  #first: Promise<StateStorage> | undefined;
  #second: Promise<StateStorage> | undefined;

  constructor(backend: ConformanceBackend, runner: ConformanceRunner) {
    this.backend = backend;
    this.#runner = runner;
    runner.afterAll(async () => {
      for (const storage of this.#opened) await storage.close();
      await backend.cleanup?.();
    });
  }

  group(name: string, body: () => void): void {
    this.#runner.describe(name, body);
  }

  test(name: string, body: Body): void {
    this.#runner.it(name, async () => body(await this.#bench()));
  }

  /** A test that needs another instance over the same data: left out where the backend has none. */
  testAcross(name: string, body: Body): void {
    if (this.backend.reopen) this.test(name, body);
  }

  /**
   * A test in which time passes. With a clock that can be moved they run in turn, as they share it; in real time the
   * first one starts them all, so that together they take as long as the longest.
   */
  testOverTime(name: string, body: Body): void {
    const timed: { body: Body; result?: Promise<void> } = { body };
    this.#timed.push(timed);
    this.#runner.it(name, async () => {
      if (this.backend.advance) return body(await this.#bench());
      for (const one of this.#timed) {
        one.result ??= this.#bench().then(one.body);
        one.result.catch(() => {});
      }
      return timed.result;
    });
  }

  async #bench(): Promise<Bench> {
    const storage = await (this.#first ??= this.#keep(this.backend.open()));
    const space = `conformance-${this.#run}-${++this.#spaces}`;
    const reopen = () => (this.backend.reopen ? this.backend.reopen() : this.backend.open());
    return {
      storage,
      space,
      key: (id = 'record', ...scope) => ({ space, scope, id }),
      second: () => (this.#second ??= this.#keep(reopen())),
      fresh: reopen,
      pass: (ms) => this.backend.advance?.(ms) ?? new Promise((resolve) => setTimeout(resolve, ms)),
    };
  }

  async #keep(opening: Promise<StateStorage>): Promise<StateStorage> {
    const storage = await opening;
    this.#opened.push(storage);
    return storage;
  }
}

/** Commits, and fails where the condition was not met. */
export async function commit(
  storage: StateStorage,
  key: RecordKey,
  changes: readonly Change[],
  options?: CommitOptions,
): Promise<Committed> {
  const answer = await storage.commit(key, changes, options);
  assert.ok(answer.committed, 'the commit was refused');
  return answer;
}

/** Commits, and fails where the condition was met after all. */
export async function refused(
  storage: StateStorage,
  key: RecordKey,
  changes: readonly Change[],
  options: CommitOptions,
): Promise<Refused> {
  const answer = await storage.commit(key, changes, options);
  assert.ok(!answer.committed, 'the commit was applied although its condition does not hold');
  return answer;
}

/** The record, which must be there. A copy, so that it stays what it was also where a backend shares its own. */
export async function found(storage: StateStorage, key: RecordKey, log = 0): Promise<StateRecord> {
  const record = await storage.read(key, { log });
  assert.ok(record, `no record ${JSON.stringify(key.id)}`);
  return structuredClone(record);
}

/** Takes the lease, which must be free. */
export async function take(storage: StateStorage, key: RecordKey, token: string, leaseMs = 60_000): Promise<void> {
  const begun = await storage.begin(key, { token, leaseMs });
  assert.equal(begun.busy, false, `${token} was refused the lease`);
}

/** Asks for the lease and must be refused. Returns when to ask again. */
export async function refusedLease(
  storage: StateStorage,
  key: RecordKey,
  token: string,
  leaseMs = 60_000,
): Promise<number> {
  const begun = await storage.begin(key, { token, leaseMs });
  assert.ok(begun.busy, `${token} got a lease that is not free`);
  return begun.retryAfterMs;
}

/** The ids of a listing, in its order. */
export async function idsOf(storage: StateStorage, query: ListQuery): Promise<string[]> {
  const ids: string[] = [];
  for await (const info of storage.list(query)) ids.push(info.key.id);
  return ids;
}

/** The call must fail with this code. */
export async function fails(code: ErrorCode, call: () => Promise<unknown>): Promise<void> {
  await assert.rejects(call, (error: AgentUpError) => {
    assert.equal(error.code, code, `failed with ${error.code ?? error}, not with ${code}`);
    return true;
  });
}

/** Fields as a plain list in the order of their names, to compare. */
export function fieldsOf(record: StateRecord | undefined): [string, string][] {
  return [...(record?.fields ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** A `set` for each entry. */
export function sets(values: Record<string, string>): Change[] {
  return Object.entries(values).map(([field, value]) => ({ op: 'set', field, value }));
}

/** A `log` for each entry. */
export function logs(...entries: string[]): Change[] {
  return entries.map((entry) => ({ op: 'log', entry }));
}
