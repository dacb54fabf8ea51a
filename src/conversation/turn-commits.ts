import { isAgentUpError } from '../errors.js';
import type { Token } from '../json.js';
import type { Mutable } from '../mutable.js';
import type { RecordKey } from '../storage/keys.js';
import type {
  BeginOptions,
  Change,
  CommitLease,
  CommitOptions,
  Committed,
  Idempotency,
  StateStorage,
} from '../storage/state-storage.js';
import { type CommitSettings, commitOptions, type OwnOptions } from './commit-settings.js';
import { forbidden } from './forbidden.js';
import type { Passing } from './turn-queue.js';
import type { WorkingCopy } from './working-copy.js';

/** The right to commit exclusively, with how long it lasts without a renewal. */
export interface Lease {
  readonly token: string;
  readonly leaseMs: number;
}

/** The turn that waits for this one to end, if there is one. */
export type NextTurn = () => BeginOptions | undefined;

/** What is committed to, and how. */
export interface CommitSubject {
  readonly storage: StateStorage;
  readonly key: RecordKey;
  readonly settings: CommitSettings;
  /** Whom a conversation that has no owner belongs to once this turn has written to it. */
  readonly owner?: string | undefined;
  /** Names the message that is handled; its reply is kept with the commit. Nothing to a turn that joins another. */
  readonly idempotencyKey?: string | undefined;
}

/** A commit whose answer was lost, and the error that said so. `at`: monotonic, in milliseconds. */
interface Unsure {
  readonly changes: readonly Change[];
  readonly options: CommitOptions;
  readonly error: unknown;
  readonly at: number;
}

/** Storages know a commit id for a minute; after this a commit is not sent again. */
const RESEND_MS = 50_000;

/** The commits of one turn: those in its middle, which keep its lease, and the last, which releases it. */
export class TurnCommits {
  readonly #subject: CommitSubject;
  readonly #copy: WorkingCopy;
  readonly #lease: Lease | undefined;
  #reply: Token | undefined;
  #passing: Passing | undefined;
  /** A save of which nobody knows whether it was written: it is sent again, as it was, before anything else. */
  #unsure: Unsure | undefined;

  constructor(subject: CommitSubject, copy: WorkingCopy, lease: Lease | undefined) {
    this.#subject = subject;
    this.#copy = copy;
    this.#lease = lease;
  }

  /** The reply that another turn for the same message was found to have left: nothing of this one was committed. */
  get reply(): Token | undefined {
    return this.#reply;
  }

  /** The lease of the next turn, where a commit may have taken it. */
  get passing(): Passing | undefined {
    return this.#passing;
  }

  /**
   * @param reply of the handler, to be kept for redeliveries of its message
   * @param next says which turn waits for this one to end
   */
  commit(keepLease: boolean, reply: Token | undefined, next?: NextTurn): Promise<void> {
    const { owner } = this.#subject;
    const copy = this.#copy;
    const idempotency = keepLease ? undefined : this.#idempotency(reply);
    const writes = !copy.erased && (copy.changed || idempotency !== undefined);
    if (writes && owner !== undefined && copy.owner === undefined) copy.apply([{ op: 'owner', owner }]);
    // Where everything goes it need not be known.
    if (this.#unsure && !copy.reset) return this.#resend(this.#unsure).then(() => this.commit(keepLease, reply, next));
    if (copy.erased) return this.#erase(keepLease, next);
    return writes ? this.#write(keepLease, idempotency, next) : this.#settleLease(keepLease, next);
  }

  async #resend({ changes, options, error, at }: Unsure): Promise<void> {
    if (performance.now() - at > RESEND_MS) throw error;
    const { storage, key } = this.#subject;
    if (!(await storage.commit(key, changes, options)).committed) throw error;
    this.#unsure = undefined;
  }

  async #erase(keepLease: boolean, next: NextTurn | undefined): Promise<void> {
    const { storage, key } = this.#subject;
    // Proven to hold the lease before, released after: nobody begins on what is about to go.
    await this.#settleLease(true);
    await storage.delete(key);
    this.#unsure = undefined;
    this.#copy.settle();
    if (!keepLease) await this.#settleLease(false, next);
  }

  /** Renews the lease, where there is one, or ends it. */
  async #settleLease(keep: boolean, next?: NextTurn): Promise<void> {
    const { storage, key } = this.#subject;
    if (!this.#lease) return;
    const answer = await storage.commit(key, [], { lease: this.#held(this.#lease, keep, next) });
    if (answer.committed) this.#passed(answer);
  }

  async #write(keepLease: boolean, idempotency: Idempotency | undefined, next?: NextTurn): Promise<void> {
    const { storage, key, settings } = this.#subject;
    const lease = this.#lease;
    const copy = this.#copy;
    // What was removed takes a time to live of its own with it.
    const expiry = copy.expiry ?? (copy.reset ? { set: settings.ttl } : undefined);
    const { claim } = copy;
    const changes = copy.changes();
    // A conversation that belonged to nobody may have been taken by somebody else since: that must not be undone.
    for (let belongsTo: string | null = null; ; ) {
      const own: Mutable<OwnOptions> = {};
      // A lease is released once: its token names that commit as well as any id.
      if (lease && !keepLease) own.commitId = lease.token;
      if (lease) own.lease = this.#held(lease, keepLease, next);
      if (claim !== undefined) own.condition = { owner: belongsTo };
      if (expiry) own.expiry = expiry;
      if (idempotency) own.idempotency = idempotency;
      const options = commitOptions(settings, own, copy.fields.size);
      try {
        const answer = await storage.commit(key, changes, options);
        if (answer.committed) {
          this.#passed(answer);
          this.#unsure = undefined;
          return copy.settle(answer);
        }
        this.#passing = undefined;
        this.#reply = idempotency && answer.record?.reply;
        if (this.#reply !== undefined) {
          return await this.#settleLease(false, next);
        }
        const found = answer.record?.owner;
        if (found !== undefined && found !== claim) throw forbidden(key.id, claim);
        belongsTo = found ?? null;
      } catch (error) {
        if (keepLease && isAgentUpError(error, 'STORAGE_UNAVAILABLE')) {
          this.#unsure = { changes, options, error, at: performance.now() };
          copy.settle();
        }
        throw error;
      }
    }
  }

  #held({ token, leaseMs }: Lease, keep: boolean, next: NextTurn | undefined): CommitLease {
    if (keep) return { token, keepMs: leaseMs };
    const asked = next?.();
    if (!asked) return { token };
    this.#passing = { token: asked.token, begun: undefined };
    return { token, next: asked };
  }

  /** Without `begun` the lease may have been passed on, all the same: an answer to a commit sent again has none. */
  #passed({ begun }: Committed): void {
    this.#passing &&= { ...this.#passing, begun };
  }

  #idempotency(reply: Token | undefined): Idempotency | undefined {
    const { idempotencyKey: key, settings } = this.#subject;
    return key === undefined || reply === undefined ? undefined : { key, reply, keep: settings.dedupe };
  }
}
