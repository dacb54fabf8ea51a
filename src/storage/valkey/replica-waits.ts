import type { Redis } from 'iovalkey';
import { type LeanCommand, leanCommand } from './lean-command.js';
import { replyCode } from './valkey-errors.js';

/** A write that counts once replicas have it. */
export interface Replicated {
  /** The command that carried it last. */
  command: { readonly socket: object | undefined } | undefined;
  /** It was done: its answer has come. */
  done: boolean;
}

/** Receives what becomes of writes that were done. */
export interface WaitOwner<Call> {
  /** Enough replicas have it. */
  confirmed(call: Call): void;
  /** The node that did it cannot say so any more: it was lost, or is a primary no longer. */
  unconfirmable(call: Call, error: Error): void;
}

/** The writes of one client that are not confirmed. */
interface Desk<Call> {
  readonly client: Redis;
  readonly open: Set<Call>;
  /** A WAIT is under way. */
  waiting: boolean;
}

/**
 * One WAIT in milliseconds. The server holds up everything else on its connection meanwhile, so a replica that is
 * gone must not make reads wait longer than this.
 */
const SLICE_MS = 50;

/**
 * Asks after each write, until they have it, whether replicas do: `WAIT`, which speaks of the writes of its own
 * connection only. It is written right behind them, so that the node has no time to become another in between; those
 * of one tick share one, and those that come while one is under way share the next. An answer counts for a write only
 * when both were written to the same socket.
 */
export class ReplicaWaits<Call extends Replicated> {
  readonly #replicas: number;
  readonly #send: (client: Redis, command: LeanCommand) => void;
  readonly #owner: WaitOwner<Call>;
  readonly #desks = new Map<Redis, Desk<Call>>();

  constructor(replicas: number, send: (client: Redis, command: LeanCommand) => void, owner: WaitOwner<Call>) {
    this.#replicas = replicas;
    this.#send = send;
    this.#owner = owner;
  }

  /** A write has been sent on this client. */
  written(client: Redis, call: Call): void {
    const desk = this.#desks.get(client);
    if (desk) desk.open.add(call);
    else this.#desks.set(client, { client, open: new Set([call]), waiting: false });
  }

  /** Asks for what this client has sent, unless it is being asked for. */
  ask(client: Redis): void {
    const desk = this.#desks.get(client);
    if (desk && !desk.waiting) this.#wait(desk);
  }

  /** A write is given up, was refused, or is to be sent again. */
  forget(client: Redis, call: Call): void {
    const desk = this.#desks.get(client);
    desk?.open.delete(call);
    if (desk?.open.size === 0 && !desk.waiting) this.#desks.delete(client);
  }

  #wait(desk: Desk<Call>): void {
    if (desk.open.size === 0) {
      this.#desks.delete(desk.client);
      return;
    }
    desk.waiting = true;
    const covered = [...desk.open];
    const replicas = this.#replicas;
    const command = leanCommand<undefined>(
      'wait',
      [String(replicas), String(SLICE_MS)],
      {
        answered: (_, reply) => {
          desk.waiting = false;
          if (Number(reply) >= replicas) this.#settle(desk, covered, command.socket);
          this.#wait(desk);
        },
        refused: (_, error) => {
          desk.waiting = false;
          for (const call of covered) {
            // What was not answered hears of the same from its own command.
            if (call.done && desk.open.delete(call)) this.#owner.unconfirmable(call, error);
          }
          // What came since is lost with the connection as well, or told the same by a WAIT of its own.
          if (replyCode(error) !== undefined || desk.open.size === 0) this.#wait(desk);
        },
      },
      undefined,
    );
    this.#send(desk.client, command);
  }

  #settle(desk: Desk<Call>, covered: readonly Call[], socket: object | undefined): void {
    for (const call of covered) {
      if (!call.done || socket === undefined || call.command?.socket !== socket) continue;
      if (desk.open.delete(call)) this.#owner.confirmed(call);
    }
  }
}
