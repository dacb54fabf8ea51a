import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'iovalkey';
import { AgentUpError } from '../../errors.js';
import { CallQueue, type Timed } from './call-queue.js';
import { asCommand, type CommandOwner, LeanCommand } from './lean-command.js';
import { type OpenOptions, openClient } from './open-client.js';
import type { Script } from './scripts.js';
import { isPassing, replyCode, translateError, unavailable } from './valkey-errors.js';
import type { ValkeyAddress } from './valkey-url.js';

/** A client of iovalkey that its owner opens and closes. */
export type ValkeyClient = Redis | Cluster;

export interface ConnectionParts extends OpenOptions {
  /** The server, for a connection of our own; or somebody's client. */
  readonly target: ValkeyAddress | ValkeyClient;
}

/** One question on its way to an answer, over as many attempts as its time allows. */
interface Call extends Timed {
  name: string;
  readonly argv: string[];
  readonly script: Script | undefined;
  /** What it was sent on last. */
  client: ValkeyClient | undefined;
  /** May it be sent again when the answer was lost, that is, is doing it twice the same as once? */
  readonly repeatable: boolean;
  attempts: number;
  /** The place of its last sending among all. */
  sequence: number;
  /** How often it was sent and its answer did not come. */
  lost: number;
  /** How many replies had come when it was sent last. */
  repliesBefore: number;
  /** What went wrong last. */
  trouble: unknown;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: AgentUpError) => void;
}

/** Longest pause between two attempts, in milliseconds. */
const MAX_PAUSE_MS = 200;

/**
 * Asks a server questions, each answered or failed within `timeoutMs`. Opens its connection when the first is
 * asked, a new one when that is lost, and none for the sake of having one. Nothing waits in a queue of the client:
 * what its caller was told has failed is not done later, unless it was under way.
 */
export class ValkeyConnection {
  readonly cluster: boolean;
  /** The server, as it may be shown. */
  readonly shown: string;
  readonly #parts: ConnectionParts;
  readonly #address: ValkeyAddress | undefined;
  readonly #pending = new CallQueue<Call>();
  readonly #owner: CommandOwner<Call> = {
    answered: (call, reply) => this.#answered(call, reply),
    refused: (call, error) => this.#refused(call, error),
  };
  readonly #note = (error: unknown): void => {
    this.#trouble = error;
  };
  #client: ValkeyClient | undefined;
  #opening: Promise<void> | undefined;
  #openingSince = 0;
  /** When the connection that worked last was lost. A blip is waited out, a server that is long gone is not. */
  #lostAt = Number.NEGATIVE_INFINITY;
  #trouble: unknown;
  #timer: NodeJS.Timeout | undefined;
  #replies = 0;
  #sequence = 0;
  /** When each script was sent to the server last, in the sequence of sendings. */
  readonly #taught = new Map<Script, number>();
  #corked = false;
  #closed = false;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    const { target } = parts;
    if ('sendCommand' in target) {
      this.cluster = target.isCluster;
      this.shown = 'of the given client';
      this.#client = target;
      target.on('error', this.#note);
    } else {
      this.cluster = false;
      this.shown = target.shown;
      this.#address = target;
    }
  }

  /** Is it somebody's client, which may send things again on its own? */
  get foreign(): boolean {
    return this.#address === undefined;
  }

  /** Runs a script. `repeatable`: see the contract of the caller. @throws AgentUpError */
  run(script: Script, keys: readonly string[], args: readonly string[], repeatable: boolean): Promise<unknown> {
    return this.#ask('evalsha', [script.sha, String(keys.length), ...keys, ...args], script, repeatable);
  }

  /**
   * Runs a script that answers for each of its groups of keys with an array: one call, or on a cluster, where a call
   * stays inside one slot, one for each group.
   */
  async runEach(script: Script, groups: readonly string[][], args: readonly string[]): Promise<unknown[]> {
    if (groups.length === 0) return [];
    if (!this.cluster) return (await this.run(script, groups.flat(), args, true)) as unknown[];
    const answers = await Promise.all(groups.map((keys) => this.run(script, keys, args, true)));
    return answers.flat();
  }

  /** Sends a plain command that only reads. @throws AgentUpError */
  command(name: string, args: readonly string[]): Promise<unknown> {
    return this.#ask(name, [...args], undefined, true);
  }

  /** How many questions wait for their answer. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Ends a connection of our own. What is under way fails. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    const client = this.#client;
    this.#client = undefined;
    if (this.foreign) client?.off('error', this.#note);
    else client?.disconnect();
  }

  #ask(name: string, argv: string[], script: Script | undefined, repeatable: boolean): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new AgentUpError('STORAGE_CLOSED', 'the Valkey storage has been closed', { backend: 'valkey' }));
        return;
      }
      const deadline = performance.now() + this.#parts.timeoutMs;
      const call: Call = {
        name,
        argv,
        script,
        repeatable,
        deadline,
        settled: false,
        client: undefined,
        attempts: 0,
        sequence: 0,
        lost: 0,
        repliesBefore: 0,
        trouble: undefined,
        resolve,
        reject,
      };
      this.#pending.add(call);
      if (this.#pending.size === 1) this.#hold(true);
      if (!this.#timer) this.#watch(this.#parts.timeoutMs);
      this.#send(call);
    });
  }

  #send(call: Call): void {
    const client = this.#client;
    if (client?.status === 'ready') this.#write(client, call);
    else {
      const ready = this.#ready();
      const since = this.#openingSince;
      ready.then(
        () => call.settled || this.#send(call),
        (error: unknown) => {
          // An attempt from before this call says nothing about now.
          if (since < call.deadline - this.#parts.timeoutMs && !call.settled) this.#send(call);
          else this.#fail(call, error);
        },
      );
    }
  }

  #write(client: ValkeyClient, call: Call): void {
    call.attempts++;
    call.sequence = ++this.#sequence;
    call.repliesBefore = this.#replies;
    // What one tick sends leaves in one system call, which is most of what sending costs.
    if (!this.#corked && !client.isCluster) {
      const { stream } = client as Redis;
      this.#corked = true;
      stream.cork();
      process.nextTick(() => {
        this.#corked = false;
        stream.uncork();
      });
    }
    call.client = client;
    client.sendCommand(asCommand(new LeanCommand(call.name, call.argv, this.#owner, call)));
  }

  #answered(call: Call, reply: unknown): void {
    this.#replies++;
    if (this.#settle(call)) call.resolve(reply);
  }

  #refused(call: Call, error: Error): void {
    const code = replyCode(error);
    if (code !== undefined) this.#replies++;
    if (call.settled) return;
    call.trouble = error;
    if (code === undefined && !unsent(error)) call.lost++;
    if (code === 'NOSCRIPT' && call.script) {
      this.#teach(call, call.script);
      this.#send(call);
    } else if (isPassing(error) || (code === undefined && (call.repeatable || unsent(error)))) {
      this.#sendAgain(call);
    } else {
      // A replica may be what is left of a primary: the next call asks anew where the primary is.
      if (code === 'READONLY') this.#drop(call.client);
      this.#fail(call, error);
    }
  }

  /** One call carries a script to the server; those that were on their way meanwhile find it there. */
  #teach(call: Call, script: Script): void {
    const taught = this.#taught.get(script) ?? 0;
    const carries = call.sequence > taught;
    call.name = carries ? 'eval' : 'evalsha';
    call.argv[0] = carries ? script.source : script.sha;
    if (carries) this.#taught.set(script, this.#sequence);
  }

  #sendAgain(call: Call): void {
    // The first loss may be an idle connection that somebody cut: no reason to wait.
    const pause = replyCode(call.trouble) === undefined && call.attempts === 1 ? 0 : 25 * call.attempts;
    if (pause === 0) this.#send(call);
    else setTimeout(() => call.settled || this.#send(call), Math.min(pause, MAX_PAUSE_MS));
  }

  #fail(call: Call, error: unknown): void {
    if (this.#settle(call)) call.reject(translateError(error, this.shown, call.lost));
  }

  #settle(call: Call): boolean {
    if (!this.#pending.settle(call)) return false;
    if (this.#pending.size === 0) this.#hold(false);
    return true;
  }

  /** A connection of our own keeps the process alive only while somebody waits for an answer. */
  #hold(alive: boolean): void {
    if (this.foreign) return;
    const stream = (this.#client as Redis | undefined)?.stream;
    if (alive) stream?.ref?.();
    else stream?.unref?.();
  }

  /** All calls have the same time, so that they run out of it in the order they were made. */
  #watch(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const now = performance.now();
      for (let call = this.#pending.first(); call; call = this.#pending.first()) {
        if (call.deadline > now) {
          this.#watch(Math.ceil(call.deadline - now));
          return;
        }
        this.#expire(call);
      }
    }, ms);
    this.#timer.unref();
  }

  #expire(call: Call): void {
    const { timeoutMs } = this.#parts;
    const why = `no answer within ${timeoutMs} ms`;
    const { trouble } = call;
    this.#fail(call, trouble === undefined ? unavailable(this.shown, why, this.#trouble) : trouble);
    // Nothing at all has come since: the connection may be dead without anybody having said so.
    if (call.attempts > 0 && call.repliesBefore === this.#replies) this.#drop(call.client);
  }

  /** Gives up a connection of our own. */
  #drop(client: ValkeyClient | undefined): void {
    if (this.foreign || this.#client !== client) return;
    this.#client = undefined;
    client?.disconnect();
  }

  /** Settles when calls can be sent, or cannot. One for all that wait. */
  #ready(): Promise<void> {
    if (!this.#opening) {
      this.#openingSince = performance.now();
      const opened = this.#address ? this.#open(this.#address) : this.#given(this.#client as ValkeyClient);
      this.#opening = opened.finally(() => {
        this.#opening = undefined;
      });
    }
    return this.#opening;
  }

  async #given(client: ValkeyClient): Promise<void> {
    if (client.status === 'wait') client.connect().catch(() => {});
    while (client.status !== 'ready') {
      if (client.status === 'end') throw unavailable(this.shown, 'the client has been closed', this.#trouble);
      if (this.#pending.size === 0) return;
      await delay(5);
    }
  }

  async #open(address: ValkeyAddress): Promise<void> {
    for (let pause = 10; ; pause = Math.min(pause * 2, MAX_PAUSE_MS)) {
      try {
        const client = await openClient(address, this.#parts);
        client.once('close', () => {
          if (this.#client !== client) return;
          this.#client = undefined;
          this.#lostAt = performance.now();
        });
        if (this.#closed) client.disconnect();
        else this.#client = client;
        if (this.#pending.size === 0) this.#hold(false);
        return;
      } catch (error) {
        if (replyCode(error) !== undefined && !isPassing(error)) throw error;
        const patience = this.#lostAt + this.#parts.timeoutMs;
        if (performance.now() + pause > patience || this.#pending.size === 0) throw error;
        await delay(pause);
      }
    }
  }
}

/** Did the client refuse to send it, so that it cannot have been done? */
function unsent(error: Error): boolean {
  return error.message.startsWith("Stream isn't writeable");
}
