import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'iovalkey';
import { AgentUpError } from '../../errors.js';
import { type AskOptions, type Call, type Link, newCall, type Step } from './call.js';
import { CallQueue } from './call-queue.js';
import { ClusterNodes } from './cluster-nodes.js';
import { type CommandOwner, type LeanCommand, leanCommand } from './lean-command.js';
import { type OpenOptions, openClient } from './open-client.js';
import { openCluster, type Seed } from './open-cluster.js';
import { ReplicaWaits } from './replica-waits.js';
import { RunningTime } from './running-time.js';
import type { Script } from './scripts.js';
import { Bursts, hold } from './sockets.js';
import {
  isPassing,
  isQueued,
  isRoleChange,
  isTimeout,
  replyCode,
  translateError,
  unavailable,
  unconfirmed,
  unsent,
} from './valkey-errors.js';
import type { ValkeyAddress } from './valkey-url.js';

/** A client of iovalkey that its owner opens and closes. */
export type ValkeyClient = Redis | Cluster;

export interface ConnectionParts extends OpenOptions {
  /** The server, or nodes of a cluster, for a connection of our own; or somebody's client. */
  readonly target: ValkeyAddress | readonly ValkeyAddress[] | ValkeyClient;
  /** How many replicas must have a write before its answer counts. Default 0. */
  readonly replicas?: number | undefined;
}

/** Longest pause between two attempts, in milliseconds. */
const MAX_PAUSE_MS = 200;
/** So many redirections are followed at once; a cluster that goes on pointing to and fro is given time to agree. */
const QUICK_REDIRECTS = 2;
/** How often it is looked, while a call is open, whether this process has stood still. */
const LOOKS = 8;

/**
 * Asks a server questions, each answered or failed within `timeoutMs`. Opens its connection when the first is
 * asked, a new one when that is lost, and none for the sake of having one. Nothing waits in a queue of the client:
 * what its caller was told has failed is not done later, unless it was under way. On a cluster each question goes to
 * the primary of its slot, wherever that is by then.
 */
export class ValkeyConnection {
  readonly cluster: boolean;
  /** The server, as it may be shown. */
  readonly shown: string;
  readonly #parts: ConnectionParts;
  readonly #addresses: readonly ValkeyAddress[] | undefined;
  readonly #pending = new CallQueue<Call>();
  readonly #owner: CommandOwner<Call> = {
    answered: (call, reply) => this.#answered(call, reply),
    refused: (call, error) => this.#refused(call, error),
  };
  readonly #note = (error: unknown): void => {
    this.#trouble = error;
  };
  readonly #waits: ReplicaWaits<Call> | undefined;
  #client: ValkeyClient | undefined;
  #nodes: ClusterNodes | undefined;
  /** The nodes of the cluster when it was last heard of: ways back to it when those of the url are gone. */
  #known: readonly Seed[] = [];
  readonly #links = new WeakMap<Redis, Link>();
  #opening: Promise<void> | undefined;
  #openingSince = 0;
  /** When the connection that worked last was lost. A blip is waited out, a server that is long gone is not. */
  #lostAt = Number.NEGATIVE_INFINITY;
  #trouble: unknown;
  #timer: NodeJS.Timeout | undefined;
  readonly #time = new RunningTime();
  #sequence = 0;
  /** When each script was sent to the server last, in the sequence of sendings. */
  readonly #taught = new Map<Script, number>();
  readonly #bursts: Bursts;
  #closed = false;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    const { target, replicas = 0 } = parts;
    if ('sendCommand' in target) {
      this.cluster = target.isCluster;
      this.shown = 'of the given client';
      this.#adopt(target);
      target.on('error', this.#note);
    } else {
      this.cluster = Array.isArray(target);
      this.#addresses = this.cluster ? (target as readonly ValkeyAddress[]) : [target as ValkeyAddress];
      this.shown = this.#addresses.map(({ shown }) => shown).join(', ');
    }
    // On the connections of a cluster iovalkey asks for its slots as well.
    this.#bursts = new Bursts(!this.foreign && !this.cluster, (client) => this.#waits?.ask(client));
    if (replicas > 0) {
      const send = (client: Redis, command: LeanCommand): void => this.#bursts.send(client, command);
      this.#waits = new ReplicaWaits<Call>(replicas, send, {
        confirmed: (call) => this.#settle(call) && call.resolve(call.reply),
        unconfirmable: (call, error) => this.#unconfirmable(call, error),
      });
    }
  }

  /** Is it somebody's client, which may send things again on its own? */
  get foreign(): boolean {
    return this.#addresses === undefined;
  }

  /** Runs a script. @throws AgentUpError */
  run(script: Script, keys: readonly string[], args: readonly string[], options: AskOptions): Promise<unknown> {
    return this.#ask('evalsha', [script.sha, String(keys.length), ...keys, ...args], options, script);
  }

  /**
   * Runs a script that answers for each of its groups of keys with an array: one call, or on a cluster, where a call
   * stays inside one slot, one for each group.
   */
  async runEach(script: Script, groups: readonly string[][], args: readonly string[]): Promise<unknown[]> {
    if (groups.length === 0) return [];
    const options = { repeatable: true };
    if (!this.cluster) return (await this.run(script, groups.flat(), args, options)) as unknown[];
    const answers = await Promise.all(groups.map((keys) => this.run(script, keys, args, options)));
    return answers.flat();
  }

  /** Sends a plain command that only reads. @throws AgentUpError */
  command(name: string, args: readonly string[]): Promise<unknown> {
    return this.#ask(name, [...args], { repeatable: true });
  }

  /**
   * Sends plain commands as one transaction, which may be done twice. The replies of all, an error among them where
   * one failed; `undefined` where the server refused. Not on a cluster. @throws AgentUpError where no answer came
   */
  transaction(steps: readonly Step[]): Promise<unknown[] | undefined> {
    return this.#ask('exec', [], { repeatable: true }, undefined, steps) as Promise<unknown[] | undefined>;
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

  #ask(name: string, argv: string[], options: AskOptions, script?: Script, steps?: readonly Step[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new AgentUpError('STORAGE_CLOSED', 'the Valkey storage has been closed', { backend: 'valkey' }));
        return;
      }
      const deadline = this.#time.now() + this.#parts.timeoutMs;
      const { repeatable, wrote = undefined } = options;
      const call = newCall({ name, argv, script, steps, deadline, repeatable, wrote, resolve, reject });
      this.#pending.add(call);
      if (this.#pending.size === 1) this.#hold(true);
      if (!this.#timer) this.#watch();
      this.#send(call);
    });
  }

  #send(call: Call): void {
    const client = this.#client;
    if (client?.status === 'ready') {
      if (this.#nodes) this.#sendToNode(this.#nodes, call);
      else this.#write(client as Redis, call);
      return;
    }
    const ready = this.#ready();
    const since = this.#openingSince;
    ready.then(
      () => call.settled || this.#send(call),
      (error: unknown) => {
        const { timeoutMs } = this.#parts;
        const left = call.deadline - this.#time.now();
        // An attempt from before this call says nothing about now, nor does one whose time was over before the call's.
        const again = since < call.deadline - timeoutMs || (isTimeout(error) && left > timeoutMs / LOOKS);
        if (again && !call.settled) this.#send(call);
        else this.#fail(call, error);
      },
    );
  }

  #sendToNode(nodes: ClusterNodes, call: Call): void {
    if (call.slot === undefined) call.slot = leanCommand(call.name, call.argv, this.#owner, call).getSlot();
    const node = call.detour ?? nodes.primaryOf(call.slot);
    if (node?.status === 'ready') {
      this.#write(node, call);
    } else if (node) {
      nodes.connected(node).then(
        () => call.settled || this.#send(call),
        (error: unknown) => call.settled || this.#unreachable(nodes, call, error),
      );
    } else {
      this.#unreachable(nodes, call, new Error('no node of the cluster serves this slot'));
    }
  }

  #write(client: Redis, call: Call): void {
    let { link } = call;
    if (link?.client !== client) {
      link = this.#links.get(client) ?? { client, replies: 0 };
      this.#links.set(client, link);
      call.link = link;
    }
    call.attempts++;
    call.sequence = ++this.#sequence;
    call.repliesBefore = link.replies;
    call.done = false;
    if (call.detour) {
      call.detour = undefined;
      this.#bursts.send(client, leanCommand('asking', [], ANYHOW, undefined));
    }
    if (call.steps) {
      this.#bursts.send(client, leanCommand('multi', [], ANYHOW, undefined));
      for (const { name, args } of call.steps) this.#bursts.send(client, leanCommand(name, args, ANYHOW, undefined));
    }
    call.command = leanCommand(call.name, call.argv, this.#owner, call);
    if (call.wrote) this.#waits?.written(client, call);
    this.#bursts.send(client, call.command);
  }

  #answered(call: Call, reply: unknown): void {
    const { link, wrote } = call;
    if (link) link.replies++;
    if (isQueued(reply)) {
      // On a connection of our own nobody would ever execute it.
      this.#drop(link);
      this.#refused(call, new Error('a transaction is open on its connection'));
      return;
    }
    if (wrote && this.#waits && !call.settled && wrote(reply)) {
      call.reply = reply;
      call.done = true;
      call.written = true;
      return;
    }
    if (this.#settle(call)) call.resolve(reply);
  }

  #refused(call: Call, error: Error): void {
    const code = replyCode(error);
    const { link } = call;
    if (link) {
      if (code !== undefined) link.replies++;
      if (call.wrote) this.#waits?.forget(link.client, call);
    }
    if (call.settled) return;
    call.trouble = error;
    const nodes = this.#nodes;
    const unsure = code === undefined && !unsent(error);
    if (unsure) call.lost++;
    if (code === 'NOSCRIPT' && call.script) {
      this.#teach(call, call.script);
      this.#send(call);
    } else if (nodes && link && (code === 'MOVED' || code === 'ASK')) {
      this.#redirect(nodes, call, link.client, error.message);
    } else if (isPassing(error) || (code === 'READONLY' && nodes) || (code === undefined && !unsure)) {
      // Nothing was done.
      this.#sendAgain(call);
    } else if (unsure && call.repeatable) {
      this.#sendAgain(call);
    } else {
      // A replica may be what is left of a primary: the next call asks anew where the primary is.
      if (code === 'READONLY') this.#drop(link);
      this.#fail(call, error);
    }
  }

  /** `MOVED 3999 127.0.0.1:6381`, or `ASK` for this once. */
  #redirect(nodes: ClusterNodes, call: Call, from: Redis, message: string): void {
    const [kind, slot, address = ''] = message.split(' ');
    if (kind === 'ASK') call.detour = nodes.asked(address, from);
    else nodes.moved(Number(slot), address, from);
    if (call.attempts <= QUICK_REDIRECTS) this.#send(call);
    else this.#sendAgain(call);
  }

  /** A node that cannot be connected to may be about to be replaced by another. */
  #unreachable(nodes: ClusterNodes, call: Call, error: unknown): void {
    call.trouble = error;
    call.detour = undefined;
    call.attempts++;
    nodes.refresh();
    if (replyCode(error) === undefined || isPassing(error)) this.#sendAgain(call);
    else this.#fail(call, error);
  }

  /** Written by a node that was lost, or became a replica, before others were known to have it. */
  #unconfirmable(call: Call, error: Error): void {
    if (call.settled) return;
    call.trouble = error;
    if (replyCode(error) === undefined) call.lost++;
    if (call.repeatable && (replyCode(error) === undefined || isRoleChange(error))) this.#sendAgain(call);
    else this.#fail(call, this.#unconfirmed(error));
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
    this.#nodes?.refresh();
    // The first loss may be an idle connection that somebody cut: no reason to wait.
    const pause = replyCode(call.trouble) === undefined && call.attempts === 1 ? 0 : 25 * call.attempts;
    if (pause === 0) this.#send(call);
    else setTimeout(() => call.settled || this.#send(call), Math.min(pause, MAX_PAUSE_MS));
  }

  #fail(call: Call, error: unknown): void {
    if (!this.#settle(call)) return;
    if (call.steps && replyCode(error) !== undefined) {
      call.resolve(undefined);
      return;
    }
    const translated = translateError(error, this.shown, call.lost);
    const open = call.written && translated.code === 'STORAGE_UNAVAILABLE';
    call.reject(open ? this.#unconfirmed(error) : translated);
  }

  #unconfirmed(cause: unknown): AgentUpError {
    const { replicas = 0, timeoutMs } = this.#parts;
    return unconfirmed(this.shown, replicas, timeoutMs, cause);
  }

  #settle(call: Call): boolean {
    if (!this.#pending.settle(call)) return false;
    if (call.wrote && call.link) this.#waits?.forget(call.link.client, call);
    if (this.#pending.size === 0) this.#hold(false);
    return true;
  }

  /** A connection of our own keeps the process alive only while somebody waits for an answer. */
  #hold(alive: boolean): void {
    if (!this.foreign && this.#client) hold(this.#client, alive);
  }

  /** All calls have the same time, so that they run out of it in the order they were made. */
  #watch(): void {
    const first = this.#pending.first();
    if (!first) return;
    const left = Math.min(first.deadline - this.#time.now(), this.#parts.timeoutMs / LOOKS);
    this.#timer = this.#time.after(Math.ceil(left), () => {
      this.#timer = undefined;
      const now = this.#time.now();
      for (let call = this.#pending.first(); call && call.deadline <= now; call = this.#pending.first()) {
        this.#expire(call);
      }
      this.#watch();
    });
  }

  #expire(call: Call): void {
    const { link, trouble = unavailable(this.shown, `no answer within ${this.#parts.timeoutMs} ms`, this.#trouble) } =
      call;
    this.#fail(call, call.written ? this.#unconfirmed(trouble) : trouble);
    // Nothing at all has come since: the connection may be dead without anybody having said so.
    if (call.attempts > 0 && call.repliesBefore === link?.replies) this.#drop(link);
  }

  /** Gives up a connection of our own. */
  #drop(link: Link | undefined): void {
    if (this.foreign || !link) return;
    if (this.#nodes) {
      link.client.disconnect();
      // The other side may be past saying goodbye, and until then its slots would have no other connection.
      link.client.stream?.destroy();
      this.#nodes.refresh();
    } else if (this.#client === link.client) {
      this.#client = undefined;
      link.client.disconnect();
    }
  }

  /** Settles when calls can be sent, or cannot. One for all that wait. */
  #ready(): Promise<void> {
    if (!this.#opening) {
      this.#openingSince = this.#time.now();
      const opened = this.#addresses ? this.#open(this.#addresses) : this.#given(this.#client as ValkeyClient);
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

  async #open(addresses: readonly ValkeyAddress[]): Promise<void> {
    for (let pause = 10; ; pause = Math.min(pause * 2, MAX_PAUSE_MS)) {
      try {
        const client = this.cluster
          ? await openCluster(addresses, this.#known, this.#parts)
          : await openClient(addresses[0] as ValkeyAddress, this.#parts);
        client.once('close', () => {
          if (this.#client !== client) return;
          this.#client = undefined;
          this.#lostAt = performance.now();
        });
        if (this.#closed) client.disconnect();
        else this.#adopt(client);
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

  #adopt(client: ValkeyClient): void {
    this.#client = client;
    if (!client.isCluster) return;
    const cluster = client as Cluster;
    this.#nodes = new ClusterNodes(cluster, () => this.foreign || cluster.disconnect());
    if (this.foreign) return;
    this.#known = this.#nodes.known();
    // Of connections that come when nobody waits any more, none keeps the process.
    const watch = (node: Redis): unknown => node.on('connect', () => this.#pending.size === 0 && this.#hold(false));
    cluster.nodes().forEach(watch);
    cluster.on('+node', watch);
    cluster.on('refresh', () => {
      this.#known = this.#nodes?.known() ?? [];
    });
  }
}

/** What is said in front of a question needs no answer of its own. */
const ANYHOW: CommandOwner<undefined> = { answered: () => {}, refused: () => {} };
