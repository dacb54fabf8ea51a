import { isAgentUpError } from '../../errors.js';
import { uniqueId } from '../../unique-id.js';
import { writes } from '../changes.js';
import type { RecordKey } from '../keys.js';
import type { Begun, Change, CommitOptions, Committed, Refused } from '../state-storage.js';
import { replyCode } from './valkey-errors.js';

/** What is known of a lease that was granted. */
interface Held extends Stamp {
  /** When it ends by itself, at the earliest. Monotonic milliseconds. */
  readonly until: number;
}

/** The state of a record, as far as two of one record have to be told apart. */
interface Stamp {
  readonly version: number;
  readonly updatedAt: number;
}

/** What it takes up leases with: the steps of the storage, each sent as it is. */
interface Steps {
  begin(key: RecordKey, token: string, leaseMs: number): Promise<Begun>;
  commit(key: RecordKey, changes: readonly Change[], options: CommitOptions): Promise<Committed | Refused>;
  /** A commit that has taken longer takes no lease up again. */
  readonly timeoutMs: number;
}

/** Leases remembered at most; those beyond cannot be taken up again. */
const MAX = 10_000;

/**
 * The leases this process holds. A primary that dies takes leases with it that its replica had not heard of yet, and
 * a turn need not fail for that: where its lease should still run and its record is as the turn knows it, nobody has
 * come in between, and the lease is taken up again.
 */
export class HeldLeases {
  readonly #steps: Steps;
  readonly #held = new Map<string, Held>();

  constructor(steps: Steps) {
    this.#steps = steps;
  }

  /** A lease was granted, asked for at the moment `since`, on a record in this state. */
  granted(token: string, since: number, leaseMs: number, record: Stamp | undefined): void {
    if (this.#held.size >= MAX) this.#purge();
    if (this.#held.size >= MAX) return;
    this.#held.set(token, { until: since + leaseMs, version: record?.version ?? 0, updatedAt: record?.updatedAt ?? 0 });
  }

  /** A commit under a lease that its primary may have taken with it when it died. */
  async commit(
    key: RecordKey,
    changes: readonly Change[],
    given: CommitOptions,
    { token, keepMs }: NonNullable<CommitOptions['lease']>,
  ): Promise<Committed | Refused> {
    const since = performance.now();
    // Sent again after a failover it must be the same commit.
    const named = given.commitId !== undefined || !writes(changes, given);
    // Which leases a primary may have taken with it is known of those that were asked for by themselves.
    const alone = { ...given, lease: keepMs === undefined ? { token } : { token, keepMs } };
    const options = named ? alone : { ...alone, commitId: uniqueId() };
    for (let again = false; ; again = true) {
      try {
        const answer = await this.#steps.commit(key, changes, options);
        const held = this.#held.get(token);
        if (keepMs === undefined) this.#held.delete(token);
        else if (held) this.granted(token, since, keepMs, answer.committed && writes(changes, given) ? answer : held);
        return answer;
      } catch (error) {
        const lost = isAgentUpError(error, 'LEASE_LOST') || replyCode((error as Error).cause) === 'LEASE_LOST';
        if (!again && lost && (await this.#regained(key, token, since))) continue;
        if (lost) this.#held.delete(token);
        throw error;
      }
    }
  }

  /** Takes a lease up again that is gone before its time, where nobody has come in between. */
  async #regained(key: RecordKey, token: string, since: number): Promise<boolean> {
    const now = performance.now();
    const left = (this.#held.get(token)?.until ?? 0) - now;
    if (left <= 0 || now - since > this.#steps.timeoutMs) return false;
    const begun = await this.#steps.begin(key, token, Math.max(1, Math.floor(left)));
    if (begun.busy) return false;
    const { version = 0, updatedAt = 0 } = begun.record ?? {};
    const held = this.#held.get(token);
    if (held?.version === version && held.updatedAt === updatedAt) return true;
    await this.#steps.commit(key, [], { lease: { token } });
    return false;
  }

  /** Forgets the leases of those who never came back. */
  #purge(): void {
    const now = performance.now();
    for (const [token, { until }] of this.#held) if (until <= now) this.#held.delete(token);
  }
}
