import type { RecordKey } from '../storage/keys.js';
import type { StateStorage } from '../storage/state-storage.js';

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
