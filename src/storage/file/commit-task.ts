import { AgentUpError } from '../../errors.js';
import { meets, type Plan, plan, writes } from '../changes.js';
import type { RecordKey } from '../keys.js';
import { outcomeOf } from '../outcome.js';
import type { Carried, Change, CommitOptions, Committed, Idempotency, Refused } from '../state-storage.js';
import { fileError } from './file-errors.js';
import type { Journal } from './journal.js';
import { commitLine, headerLine, type LineSettings, tearsLine } from './line-format.js';
import type { RecentCommit } from './recent-commits.js';
import { copyOf } from './record-copy.js';
import type { RecordDesk, Task } from './record-desk.js';
import { RecordFold } from './record-fold.js';
import type { HeldLease } from './record-leases.js';
import type { RecordShelf } from './record-shelf.js';

/** A checkpoint is due after so many bytes, or after some times its own size. */
const CHECKPOINT_EVERY = 16 * 1024;
const CHECKPOINT_FACTOR = 4;
const CHECKPOINT_FRAME = 400;

/** One commit: checked against the record, and staged as one line, under the record's lock. */
export class CommitTask implements Task {
  readonly #shelf: RecordShelf;
  readonly #key: RecordKey;
  readonly #changes: readonly Change[];
  readonly #options: CommitOptions;
  readonly #resolve: (answer: Committed | Refused) => void;
  readonly #reject: (error: unknown) => void;
  #path = '';

  constructor(
    shelf: RecordShelf,
    key: RecordKey,
    changes: readonly Change[],
    options: CommitOptions,
    resolve: (answer: Committed | Refused) => void,
    reject: (error: unknown) => void,
  ) {
    this.#shelf = shelf;
    this.#key = key;
    this.#changes = changes;
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  fail(error: unknown): void {
    this.#reject(fileError(error, this.#path));
  }

  run(desk: RecordDesk): void {
    const { lease: asked, commitId, condition, idempotency, maxFields, carried } = this.#options;
    const { leases } = this.#shelf;
    const path = desk.journal.path;
    this.#path = path;
    const now = this.#shelf.now();
    // What is staged may end this very lease.
    if (asked) desk.flush();
    const there = this.#shelf.guarded(path, () => desk.read());
    if (commitId !== undefined) desk.journal.recall(now);
    const recent = commitId === undefined ? undefined : there?.recent.get(commitId, now);
    if (recent) {
      // Whether the name of its file was brought to the disk the first time is not known.
      this.#afterStaged(desk, () => this.#acknowledge(answerAgain(recent, this.#changes), true));
      return;
    }
    const lease = asked && this.#shelf.guarded(path, () => leases.heldBy(path, asked.token, now));
    if (asked && !lease) throw leaseLost(this.#key);
    const fold = there?.isExpired(now) ? undefined : there;
    const idempotencyKey = idempotency?.key;
    const repeated = idempotencyKey !== undefined && fold?.replies.get(idempotencyKey) !== undefined;
    if (repeated || !meets(fold, condition)) {
      const record = fold && copyOf(desk.journal, fold, { idempotencyKey });
      this.#afterStaged(desk, () => this.#resolve({ committed: false, record }));
      return;
    }
    if (!writes(this.#changes, this.#options)) {
      const answer = fold ? answerOf(fold, new Map()) : nothing(now);
      this.#afterStaged(desk, () => this.#resolve(this.#settle(desk, answer, lease, now)));
      return;
    }
    if ((carried?.expiresAt ?? now + 1) <= now) {
      const { answer } = outcomeOf(fold, this.#changes, this.#options, now);
      this.#afterStaged(desk, () => this.#remove(desk, there, lease, now, answer));
      return;
    }
    const planned = plan(fold?.fields ?? NO_FIELDS, this.#changes, maxFields);
    if (fold) this.#append(desk, fold, planned, lease, now);
    else this.#create(desk, there, planned, lease, now);
  }

  /** A record that is carried past its end is gone at once: also from the disk, as nobody would look for it there. */
  #remove(
    desk: RecordDesk,
    there: RecordFold | undefined,
    lease: HeldLease | undefined,
    now: number,
    answer: Committed,
  ): void {
    if (there) this.#shelf.guarded(this.#path, () => this.#shelf.erase(desk, there));
    this.#resolve(this.#settle(desk, answer, lease, now));
  }

  #append(desk: RecordDesk, fold: RecordFold, planned: Plan, lease: HeldLease | undefined, now: number): void {
    const settings = settingsOf(fold, planned, this.#options, now);
    let text = commitLine(planned, this.#changes, settings);
    if (tearsLine(text)) throw notAToken();
    const before = fold.owner;
    this.#index(planned, before);
    const offset = desk.next;
    fold.apply(planned, settings, offset);
    const end = offset + Buffer.byteLength(text);
    const { edited } = desk.journal;
    if (isCheckpointDue(fold, end) || edited) {
      const checkpoint = fold.checkpointLine(end, edited ? { edited } : {});
      fold.checkpoint = { offset: end, length: Buffer.byteLength(checkpoint) };
      text += checkpoint;
    }
    const answer = answerOf(fold, planned.incremented);
    const written = (): void => {
      if (edited) desk.journal.settled();
      this.#done(desk, answer, before, planned, lease, now, false);
    };
    desk.stage({ text, written, fail: (error) => this.fail(error) }, settings.at);
  }

  #create(
    desk: RecordDesk,
    expired: RecordFold | undefined,
    planned: Plan,
    lease: HeldLease | undefined,
    now: number,
  ): void {
    const fold = new RecordFold();
    const createdAt = this.#options.carried?.createdAt ?? now;
    const header = headerLine(this.#key, String(Number(expired?.header?.gen ?? 0) + 1), createdAt);
    fold.line(header.slice(0, -1), 0, 'trust');
    fold.createdAt = createdAt;
    if (expired) fold.recent.addAll(expired.recent);
    const settings = settingsOf(fold, planned, this.#options, now);
    const line = commitLine(planned, this.#changes, settings);
    if (tearsLine(line)) throw notAToken();
    this.#index(planned, undefined);
    fold.apply(planned, settings, Buffer.byteLength(header));
    fold.logOffset = 0;
    this.#shelf.guarded(this.#path, () => desk.create(header + line, fold));
    this.#done(desk, answerOf(fold, planned.incremented), expired?.owner, planned, lease, now, true);
  }

  /** Enters the record under its new owner, before anything says that it is his. */
  #index({ owner }: Plan, before: string | undefined): void {
    const { value } = owner ?? {};
    if (value === undefined || value === before) return;
    this.#shelf.guarded(this.#path, () => this.#shelf.owners.add(value, this.#path));
  }

  #done(
    desk: RecordDesk,
    answer: Committed,
    before: string | undefined,
    { owner }: Plan,
    lease: HeldLease | undefined,
    now: number,
    isNew: boolean,
  ): void {
    let settled = answer;
    try {
      if (before !== undefined && (isNew || owner) && owner?.value !== before) {
        this.#shelf.owners.remove(before, this.#path);
      }
      settled = this.#settle(desk, answer, lease, now);
    } catch (error) {
      // The commit is written. An entry too many is found out, and a lease ends by itself.
      this.#shelf.logger.warn(error, `something beside ${this.#path} could not be removed`);
    }
    this.#acknowledge(settled, isNew, desk.journal);
  }

  #acknowledge(answer: Committed, isNew: boolean, journal?: Journal): void {
    const synced = this.#shelf.sync.written(this.#path, isNew, journal);
    if (!synced) this.#resolve(answer);
    else synced.then(() => this.#resolve(answer), this.#reject);
  }

  /** Renews the lease, passes it on, or ends it. */
  #settle(desk: RecordDesk, answer: Committed, lease: HeldLease | undefined, now: number): Committed {
    if (!lease) return answer;
    const { leases } = this.#shelf;
    const { keepMs, next } = this.#options.lease ?? {};
    if (keepMs !== undefined || !next || !leases.pass(this.#path, lease, next, now)) {
      leases.settle(this.#path, lease, keepMs, now);
      return answer;
    }
    const fold = desk.read();
    const record = fold && !fold.isExpired(now) ? copyOf(desk.journal, fold, next) : undefined;
    return { ...answer, begun: { record } };
  }

  /** An answer that rests on what others have staged comes after theirs; if that is not written, it is another one. */
  #afterStaged(desk: RecordDesk, answer: () => void): void {
    if (desk.flush()) answer();
    else this.run(desk);
  }
}

const NO_FIELDS: ReadonlyMap<string, string> = new Map();

function isCheckpointDue(fold: RecordFold, end: number): boolean {
  const since = end - fold.checkpoint.offset - fold.checkpoint.length;
  if (since < CHECKPOINT_EVERY) return false;
  return since >= CHECKPOINT_FACTOR * (fold.fieldBytes + fold.replies.bytes + CHECKPOINT_FRAME);
}

function settingsOf(
  fold: RecordFold,
  { clearLog, log }: Plan,
  { expiry, logMax, commitId, idempotency, carried }: CommitOptions,
  now: number,
): LineSettings {
  const total = (clearLog ? 0 : fold.logTotal) + log.length;
  const dropped = clearLog ? 0 : fold.logDropped;
  const from = logMax !== undefined && total - dropped > logMax ? total - logMax : undefined;
  if (carried) return { ...carriedSettings(fold, carried, from, idempotency), id: commitId, sentAt: now };
  let expiresAt: number | null | undefined;
  let ownTtl: number | 'none' | undefined;
  if (expiry) {
    if ('set' in expiry) ownTtl = expiry.set;
    const seconds = 'set' in expiry ? expiry.set : (fold.ownTtl ?? expiry.renew);
    expiresAt = seconds === 'none' ? null : now + seconds * 1000;
    if (expiresAt === (fold.expiresAt ?? null)) expiresAt = undefined;
  }
  return { at: now, version: fold.version + 1, from, id: commitId, idempotency, expiresAt, ownTtl };
}

/** Of a record from another storage: nothing is left to the clock. */
function carriedSettings(
  fold: RecordFold,
  { createdAt, updatedAt, expiresAt, ownTtl, logDropped = 0, replies }: Carried,
  capped: number | undefined,
  idempotency: Idempotency | undefined,
): LineSettings {
  return {
    at: updatedAt,
    version: fold.version + 1,
    createdAt: createdAt === fold.createdAt ? undefined : createdAt,
    expiresAt: expiresAt ?? null,
    ownTtl: ownTtl ?? null,
    from: capped ?? (logDropped > 0 ? logDropped : undefined),
    idempotency,
    replies,
  };
}

function answerOf(fold: RecordFold, incremented: Map<string, number>): Committed {
  const { version, updatedAt, expiresAt, logTotal } = fold;
  return { committed: true, version, updatedAt, expiresAt, incremented, logTotal };
}

function nothing(now: number): Committed {
  return {
    committed: true,
    version: 0,
    updatedAt: now,
    expiresAt: undefined,
    incremented: new Map(),
    logTotal: 0,
  };
}

function answerAgain(
  { updatedAt, version, expiresAt, logTotal, ints }: RecentCommit,
  changes: readonly Change[],
): Committed {
  const incremented = new Map<string, number>();
  for (const change of changes) {
    if (change.op === 'increment') incremented.set(change.field, ints.get(change.field) ?? 0);
  }
  return { committed: true, version, updatedAt, expiresAt, incremented, logTotal };
}

function leaseLost({ id, space }: RecordKey): AgentUpError {
  return new AgentUpError('LEASE_LOST', `the lease on ${id} was lost before the commit`, { recordId: id, space });
}

function notAToken(): AgentUpError {
  return new AgentUpError('INVALID_ARGUMENT', 'a value is not a token: it holds a line break; make one with encode', {
    argument: 'changes',
  });
}
