import { encodeName } from '../keys.js';
import type { BeginOptions, StateRecord } from '../state-storage.js';
import type { Step } from './call.js';
import { duration, parseSnapshot } from './record-codec.js';
import type { ValkeyConnection } from './valkey-connection.js';
import { leaseKey, logKey, repliesKey } from './valkey-keys.js';

/** What came of it. */
export type DirectAnswer =
  | { readonly granted: true; readonly found: StateRecord | undefined }
  /** The script is to be asked. `held`: because somebody has the lease, maybe this token. */
  | { readonly granted: false; readonly held: boolean };

/** Tokens remembered at most. To have forgotten one costs a round trip. */
const MAX = 10_000;
/** How long nothing is tried that was refused. */
const FORBIDDEN_MS = 60_000;
const NO_ENTRIES: readonly Buffer[] = [];
const HELD: DirectAnswer = { granted: false, held: true };
const UNCLEAR: DirectAnswer = { granted: false, held: false };

/**
 * Takes leases that nobody has by plain commands in one transaction, for a third of the server's time that the script
 * takes. Whatever else is the matter (a lease that is held, a record that is damaged, a user who may not) is left to
 * the script, asked with the same token: to it a lease that was taken here is that token's.
 */
export class DirectBegin {
  readonly #connection: ValkeyConnection;
  /** Who was refused has a place, so that something lies under the lease's key until its turn has come. */
  readonly #waiting = new Set<string>();
  #allowedFrom = Number.NEGATIVE_INFINITY;

  constructor(connection: ValkeyConnection) {
    this.#connection = connection;
  }

  /**
   * Is it worth a try? On a cluster a transaction could not be sent on to where its slot has gone, and on somebody's
   * client its EXEC would end what they WATCH.
   */
  suits(token: string): boolean {
    if (this.#connection.cluster || this.#connection.foreign || this.#waiting.has(token)) return false;
    return performance.now() >= this.#allowedFrom;
  }

  /** What to ask for. */
  steps(record: string, { token, leaseMs, log = 0, idempotencyKey }: BeginOptions): Step[] {
    const steps: Step[] = [
      { name: 'set', args: [leaseKey(record), encodeName(token), 'PX', duration(leaseMs), 'NX'] },
      { name: 'hgetall', args: [record] },
    ];
    if (log > 0) steps.push({ name: 'lrange', args: [logKey(record), `-${log}`, '-1'] });
    if (idempotencyKey !== undefined) steps.push({ name: 'hget', args: [repliesKey(record), `=${idempotencyKey}`] });
    return steps;
  }

  /** What the replies mean; `undefined`: the server refused. */
  answer(replies: readonly unknown[] | undefined, { log = 0, idempotencyKey }: BeginOptions): DirectAnswer {
    if (!replies) return UNCLEAR;
    const [taken, fields] = replies;
    if (!(taken instanceof Uint8Array)) return HELD;
    const entries = log > 0 ? replies[2] : NO_ENTRIES;
    const reply = idempotencyKey === undefined ? undefined : replies[log > 0 ? 3 : 2];
    if (!Array.isArray(fields) || !Array.isArray(entries) || reply instanceof Error) return UNCLEAR;
    if (fields.length === 0) return { granted: true, found: undefined };
    const found = parseSnapshot(fields, entries, reply as Buffer | null | undefined);
    const lost = log > 0 && entries.length === 0 && found && found.logTotal > found.logDropped;
    return found && !lost ? { granted: true, found } : UNCLEAR;
  }

  /** The script has granted what was left to it, or refused it for now. */
  told(token: string, granted: boolean): void {
    if (granted) this.#waiting.delete(token);
    else {
      if (this.#waiting.size >= MAX) this.#waiting.clear();
      this.#waiting.add(token);
    }
  }

  /** The server has refused what it allowed in a script, and would each time; or it was only about to be ready. */
  forbid(): void {
    this.#allowedFrom = performance.now() + FORBIDDEN_MS;
  }
}
