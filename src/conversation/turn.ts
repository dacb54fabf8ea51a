import { AgentUpError, isAgentUpError } from '../errors.js';
import type { Token } from '../json.js';
import type { Logger } from '../logger.js';
import { expirySeconds } from '../storage/changes.js';
import type { RecordKey } from '../storage/keys.js';
import type { Change, Expiry, LogOptions, LogPage, StateStorage } from '../storage/state-storage.js';
import type { Access, Answer, Attributes, Contents } from './access.js';
import type { ConversationContext } from './conversation-context.js';
import { type Kept, leaseKeeper } from './lease-keeper.js';
import { LIFE } from './life.js';
import { endsSoon, outlive } from './outlive.js';
import { type CommitSubject, type Lease, type NextTurn, TurnCommits } from './turn-commits.js';
import type { Passing } from './turn-queue.js';
import { type Tail, WorkingCopy } from './working-copy.js';

/** What a turn is about. */
export interface TurnSubject extends CommitSubject {
  readonly logger: Logger;
}

/** How a turn was begun. */
export interface TurnStart {
  readonly copy: WorkingCopy;
  /** Absent for parallel turns, and for a turn that joins another. */
  readonly lease?: Lease | undefined;
  /** What an earlier turn with this key left. */
  readonly reply?: Token | undefined;
  /** The turn this one joins: its changes become the parent's when its handler returns. */
  readonly parent?: Turn | undefined;
}

/** One running turn: reads come from its working copy, writes collect there until it commits. */
export class Turn implements Access {
  readonly storage: StateStorage;
  readonly key: RecordKey;
  /** The key as text: what a turn is found by. */
  readonly text: string;
  readonly #subject: TurnSubject;
  readonly #lease: Lease | undefined;
  readonly #kept: Kept | undefined;
  readonly #parent: Turn | undefined;
  #copy: WorkingCopy;
  readonly #commits: TurnCommits;
  readonly #reply: Token | undefined;
  #newReply: Token | undefined;
  #ended = false;
  /** What its handler was given: a tool that is called from it works on the same conversation. */
  context: ConversationContext | undefined;
  #givenUp = false;
  #afterwards: ((committed: boolean) => void)[] | undefined;
  /** A save under way: what comes meanwhile waits, or it would be taken for saved. */
  #saving: Promise<void> | undefined;
  constructor(subject: TurnSubject, text: string, start: TurnStart) {
    this.#subject = subject;
    this.storage = subject.storage;
    this.key = subject.key;
    this.text = text;
    this.#copy = start.copy;
    this.#reply = start.reply;
    this.#parent = start.parent;
    this.#lease = start.lease;
    this.#commits = new TurnCommits(subject, start.copy, start.lease);
    if (start.lease) this.#kept = leaseKeeper.add(this, start.lease.leaseMs);
  }

  get ended(): boolean {
    return this.#ended;
  }

  get owner(): string | undefined {
    return this.#copy.owner;
  }

  /** The user this turn is for, whoever owns the conversation. */
  get user(): string | undefined {
    return this.#subject.owner;
  }

  /** Does it run inside another turn of its conversation, and become part of it? */
  get joined(): boolean {
    return this.#parent !== undefined;
  }

  /** Does it hold the lease of its conversation? A turn inside another one does not. */
  get leased(): boolean {
    return this.#lease !== undefined;
  }

  /** What the lifecycle of the conversation has noted: see `Life`. */
  get life(): Token | undefined {
    return this.#copy.fields.get(LIFE);
  }

  /** When the conversation was last written to, before this turn. Epoch milliseconds. */
  get updatedAt(): number | undefined {
    return this.#copy.updatedAt;
  }

  /** What came of an earlier turn for the same message: it stands, and this one changes nothing. */
  get reply(): Token | undefined {
    return this.#reply ?? this.#commits.reply;
  }

  /** Is the reply of this turn kept, to answer a redelivery of its message with? */
  get remembers(): boolean {
    return this.#subject.idempotencyKey !== undefined && !this.#parent;
  }

  /** The reply to be kept with the commit. */
  keepReply(token: Token): void {
    this.#newReply = token;
  }

  /** A save under way. Until it has come to an end, what this turn sees may still be taken back. */
  get saving(): Promise<void> | undefined {
    return this.#saving;
  }

  /** Takes over what a turn inside this one has changed; never during a save. */
  take(copy: WorkingCopy): void {
    this.#live();
    if (copy.erased) this.#copy.erase();
    else this.#copy.apply(copy.changes(), this.#subject.settings.maxEntries);
    if (copy.expiry && this.#copy.exists) this.#copy.expiry = copy.expiry;
  }

  /** @returns what makes the state of this turn, and what it has still to write, what they are now */
  remember(): () => void {
    return this.#copy.remember();
  }

  /** The state as this turn sees it, for a turn that joins. */
  fork(): WorkingCopy {
    return new WorkingCopy(this.#copy.snapshot());
  }

  field(name: string): Token | undefined {
    this.#live();
    return this.#copy.fields.get(name);
  }

  fields(): ReadonlyMap<string, Token> {
    this.#live();
    return this.#copy.fields;
  }

  log({ limit, before }: LogOptions): Answer<LogPage> {
    this.#live();
    const tail = this.#copy.tail;
    const end = Math.max(tail.dropped, Math.min(tail.total, before ?? tail.total));
    const start = Math.max(tail.dropped, limit === undefined ? 0 : end - limit);
    const held = tail.entries.slice(Math.max(0, start - tail.start), Math.max(0, end - tail.start));
    const { total, dropped } = tail;
    if (start >= tail.start || end <= start) return { entries: held, start: Math.min(start, end), total, dropped };
    return this.#older(tail, held, start, end);
  }

  /** A stretch of the log of which the turn has loaded the end at most. */
  async #older(tail: Tail, held: Token[], start: number, end: number): Promise<LogPage> {
    const olderEnd = Math.min(end, tail.start);
    const older = await this.storage.readLog(this.key, { before: olderEnd, limit: olderEnd - start });
    if (older.start + older.entries.length === olderEnd && older.entries.length > 0) {
      return { ...tail, entries: [...older.entries, ...held], start: older.start };
    }
    // Somebody capped or cleared the log meanwhile: what this turn has not loaded is gone.
    return { ...tail, entries: held, start: olderEnd, dropped: olderEnd };
  }

  attributes(): Attributes | undefined {
    this.#live();
    const { exists, owner, createdAt = 0, updatedAt = 0, expiresAt } = this.#copy;
    return exists ? { owner, createdAt, updatedAt, expiresAt, ttl: this.pendingTtl, life: this.life } : undefined;
  }

  async contents(log: number): Promise<Contents | undefined> {
    const attributes = this.attributes();
    return attributes && { attributes, fields: this.#copy.fields, log: await this.log({ limit: log }) };
  }

  apply(changes: readonly Change[]): Answer<Map<string, number>> {
    if (this.#saving) return this.#saving.then(() => this.apply(changes));
    this.#live();
    return this.#copy.apply(changes, this.#subject.settings.maxEntries);
  }

  replace(field: string, expected: Token | undefined, value: Token): Answer<boolean> {
    if (this.#saving) return this.#saving.then(() => this.replace(field, expected, value));
    this.#live();
    if (this.#copy.fields.get(field) !== expected) return false;
    this.#copy.apply([{ op: 'set', field, value }], this.#subject.settings.maxEntries);
    return true;
  }

  create(owner: string | undefined): Answer<void> {
    if (this.#saving) return this.#saving.then(() => this.create(owner));
    this.#live();
    if (!this.#copy.exists) this.#copy.apply([owner === undefined ? { op: 'touch' } : { op: 'owner', owner }]);
  }

  claim(owner: string): Answer<boolean> {
    if (this.#saving) return this.#saving.then(() => this.claim(owner));
    this.#live();
    if (this.#copy.owner === undefined) this.#copy.apply([{ op: 'owner', owner }]);
    return this.#copy.owner === owner;
  }

  expire(expiry: Expiry): Answer<boolean> {
    if (this.#saving) return this.#saving.then(() => this.expire(expiry));
    this.#live();
    if (!this.#copy.exists) return false;
    this.#copy.expiry = expiry;
    return true;
  }

  erase(): Answer<boolean> {
    if (this.#saving) return this.#saving.then(() => this.erase());
    this.#live();
    const there = this.#copy.exists;
    this.#copy.erase();
    return there;
  }

  /**
   * @param after called once it is known what became of it, before anything that waits for this save goes on: whether
   * what was pending has been written, or may have been
   */
  async save(after?: (written: boolean) => void): Promise<void> {
    while (this.#saving) await this.#saving;
    this.#live();
    const saved = this.#commit(true).then(
      () => after?.(true),
      (error: unknown) => {
        // Where the answer was lost nothing is pending any more; what is pending has not been sent, or was refused.
        after?.(!this.#copy.changed);
        throw error;
      },
    );
    const saving = saved.catch(() => {});
    this.#saving = saving;
    try {
      await saved;
    } finally {
      if (this.#saving === saving) this.#saving = undefined;
    }
  }

  /**
   * Has something called once it is known what became of this turn. Of a turn inside another one that is known when
   * the outer one has ended, unless it fails itself.
   */
  afterwards(call: (committed: boolean) => void): void {
    this.#afterwards ??= [];
    this.#afterwards.push(call);
  }

  /** Calls what waits for the end of this turn. */
  settle(committed: boolean): void {
    const calls = this.#afterwards;
    if (calls === undefined) return;
    this.#afterwards = undefined;
    for (const call of calls) {
      if (committed && this.#parent) this.#parent.afterwards(call);
      else call(committed);
    }
  }

  /** The handler returned: what it changed is committed and the lease released, or passed on, in one step. */
  finish(next?: NextTurn): Promise<void> {
    this.#end();
    return this.#saving ? this.#saving.then(() => this.#commit(false, next)) : this.#commit(false, next);
  }

  /** The lease of the turn that waits for this one, where this one's end may have taken it. */
  get passing(): Passing | undefined {
    return this.#commits.passing;
  }

  /** Its handler was given up while it ran: nothing that it still does may become part of an outer turn. */
  get givenUp(): boolean {
    return this.#givenUp;
  }

  /** The handler is not waited for any longer: from now on it changes nothing. Whoever says so throws. */
  giveUp(): void {
    this.#givenUp = true;
    this.#end();
  }

  /** The handler threw, or the commit was refused: nothing more is written, the lease is released. */
  async abandon(): Promise<void> {
    this.#end();
    if (this.#saving) await this.#saving;
    const lease = this.#lease;
    if (!lease) return;
    try {
      await this.storage.commit(this.key, [], { lease: { token: lease.token } });
    } catch (error) {
      // The error that ends the turn matters more, and the lease ends by itself.
      if (!isAgentUpError(error, 'LEASE_LOST')) this.#subject.logger.warn(error, 'a lease could not be released');
    }
  }

  #end(): void {
    this.#ended = true;
    if (this.#kept) leaseKeeper.delete(this.#kept);
  }

  #live(): void {
    if (this.#ended) throw turnEnded(this.key.id);
  }

  /** The time to live that the commit will give, where this turn has anything to do with it. */
  get pendingTtl(): number | 'none' | undefined {
    const { expiry, reset, updatedAt } = this.#copy;
    if (expiry) return expirySeconds(expiry);
    const outer = reset ? undefined : this.#parent?.pendingTtl;
    return outer ?? (updatedAt ? undefined : this.#subject.settings.ttl);
  }

  #commit(keepLease: boolean, next?: NextTurn): Promise<void> {
    const parent = this.#parent;
    return parent ? this.#join(parent, keepLease) : this.#commits.commit(keepLease, this.#newReply, next);
  }

  /** What this turn changed becomes part of the one it runs in. */
  async #join(parent: Turn, save: boolean): Promise<void> {
    while (parent.saving) await parent.saving;
    if (this.#givenUp) throw turnEnded(this.key.id);
    const copy = this.#copy;
    const undo = save ? [parent.remember(), this.remember()] : undefined;
    const { owner } = this.#subject;
    if (owner !== undefined && copy.changed && !copy.erased && copy.owner === undefined) {
      copy.apply([{ op: 'owner', owner }]);
    }
    // Nothing is waited for until the save is under way: no other turn inside the outer one can come between.
    parent.take(copy);
    copy.settle();
    if (!undo) return;
    await parent.save((written) => {
      // As the outer one, it sees what the storage came to.
      if (written) this.#copy = parent.fork();
      // The outer one may go on without this one, and commit.
      else for (const back of undo) back();
    });
  }

  /** Keeps the lease, and the conversation, while the handler runs on. @internal */
  async renew(): Promise<void> {
    const { storage, key, logger, settings } = this.#subject;
    if (!this.#lease) return;
    const { token, leaseMs } = this.#lease;
    try {
      if (endsSoon(this.#copy.expiresAt, leaseMs, settings.clock)) {
        const lived = await outlive(storage, key, settings, this.#lease);
        if (lived.committed) return this.#copy.outlived(lived);
      }
      await storage.commit(key, [], { lease: { token, keepMs: leaseMs } });
    } catch (error) {
      if (this.#ended) return;
      if (isAgentUpError(error, 'LEASE_LOST')) {
        // It stays lost, and the commit will say so; anything else may pass.
        if (this.#kept) leaseKeeper.delete(this.#kept);
        logger.warn(`the lease of a turn of ${key.id} was lost`);
      }
    }
  }
}

/** The error for what a handler does after its turn. */
export function turnEnded(recordId: string): AgentUpError {
  return new AgentUpError('TURN_ENDED', 'the turn of this context has ended; is an await missing in the handler?', {
    recordId,
    fix: 'await every call on the context before the handler returns; outside a turn use a context of your own',
  });
}
