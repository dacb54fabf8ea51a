import { checkObject } from '../check-object.js';
import { systemClock, toIso } from '../clock.js';
import type { RoleInput } from '../conversation/message.js';
import { enclosingTurn } from '../conversation/run-turn.js';
import type { MessageInput, SyncInput } from '../conversation-api/schemas.js';
import { AgentUpError, isAgentUpError, messageOf } from '../errors.js';
import { encode, type JsonValue } from '../json.js';
import { silentLogger } from '../logger.js';
import { checkId } from '../storage/keys.js';
import { uniqueId } from '../unique-id.js';
import { within } from '../within.js';
import { BackgroundDelivery } from './background-delivery.js';
import { ConversationClient } from './conversation-client.js';
import { type DeadLetter, DeadLetters } from './dead-letters.js';
import { Outbox } from './outbox.js';
import { bodyOf, type OutboxEntry, type SyncTarget, type Work } from './outbox-entry.js';
import { apply, merge, readBase, writeBase } from './pull.js';
import { throwIfDown } from './readable-records.js';
import { Sender } from './sender.js';
import { cartaaiMapping, fieldsOf, type StateMapping, toBody, toFields } from './state-mapping.js';
import { SyncEmitter, type SyncEvents } from './sync-events.js';
import { forgetSync, registerSync } from './sync-registry.js';
import { observedPull } from './sync-telemetry.js';
import type {
  ConversationSyncOptions,
  PullOptions,
  PullResult,
  SyncReceipt,
  SyncStatus,
  SyncUser,
} from './sync-types.js';
import { SyncedConversation } from './synced-conversation.js';

const ROLES: readonly string[] = ['user', 'assistant', 'system', 'tool', 'agent', 'bot'];
const DISABLED: SyncReceipt = { status: 'disabled' };

/**
 * Keeps a remote conversation API up to date with this app, without the app ever waiting for it: calls return once
 * their change lies in a durable outbox, from which it is sent in order, each change exactly once in effect. In a
 * `@stateful` turn a change is part of the turn: it is sent when the turn is committed, and only then.
 */
export class ConversationSync {
  readonly enabled: boolean;
  readonly mapping: StateMapping;
  readonly #options: ConversationSyncOptions;
  readonly #parts: Parts | undefined;
  readonly #events: SyncEmitter;

  /** @throws INVALID_ARGUMENT */
  constructor(options: ConversationSyncOptions) {
    checkObject(options, 'ConversationSync', 'new ConversationSync({ storage, client })');
    this.#options = options;
    this.enabled = options.enabled ?? true;
    this.mapping = options.mapping ?? cartaaiMapping;
    this.#events = new SyncEmitter(options.logger ?? silentLogger);
    if (!this.enabled) return;
    this.#parts = this.#assemble();
    registerSync(options.storage, this);
  }

  /** Hears of what happens; returns what stops it. */
  on<K extends keyof SyncEvents>(event: K, listener: (event: SyncEvents[K]) => void): () => void {
    return this.#events.on(event, listener);
  }

  /** Has the remote begin the user's conversation, or find the active one. Every other call does so where it must. */
  initialize(user: SyncUser): Promise<SyncReceipt> {
    return this.#queue(user, () => ({ op: 'open' }));
  }

  /** Notes what the mapping finds in the app's state. What the state does not hold stays; `null` removes. */
  syncState(user: SyncUser, state: Readonly<Record<string, unknown>>): Promise<SyncReceipt> {
    return this.#queue(user, () => ({ op: 'state', body: toBody(toFields(state, this.mapping)) }));
  }

  /** Notes fields of the API as they are, beside any mapping. */
  update(user: SyncUser, body: Omit<SyncInput, 'messages'>): Promise<SyncReceipt> {
    return this.#queue(user, () => ({ op: 'state', body }));
  }

  /** Notes a message, with the time of now. */
  addMessage(
    user: SyncUser,
    role: RoleInput,
    content: JsonValue,
    metadata: Readonly<Record<string, JsonValue>> = {},
  ): Promise<SyncReceipt> {
    return this.#queue(user, (now) => {
      if (!ROLES.includes(role))
        throw new AgentUpError('INVALID_ARGUMENT', `unknown role ${String(role)}`, { argument: 'role' });
      const { source = 'agentup' } = this.#options;
      const message = { role, content, timestamp: toIso(now), metadata: { ...metadata, source } } as MessageInput;
      return { op: 'message', message };
    });
  }

  linkOrder(user: SyncUser, orderId: string): Promise<SyncReceipt> {
    return this.#queue(user, () => {
      checkId(orderId, 'orderId');
      return { op: 'order', orderId };
    });
  }

  /** Has the remote clear context, messages, intent and order. */
  reset(user: SyncUser): Promise<SyncReceipt> {
    return this.#queue(user, () => ({ op: 'reset' }));
  }

  /** Has the remote end the conversation. What is noted after it begins a new one. */
  end(user: SyncUser): Promise<SyncReceipt> {
    return this.#queue(user, () => ({ op: 'end' }));
  }

  /** A handle to one user's conversation: `await using conversation = await sync.open(user)`. */
  async open(user: SyncUser): Promise<SyncedConversation> {
    await this.initialize(user);
    return new SyncedConversation(this, user);
  }

  /**
   * Brings the remote's changes into the local conversation. What waits in the outbox is sent first. Never throws; a
   * remote that does not answer is `failed`, and nothing has changed.
   */
  async pull(user: SyncUser, options: PullOptions = {}): Promise<PullResult> {
    const parts = this.#parts;
    return parts ? observedPull(() => this.#tryPull(parts, user, options)) : { status: 'disabled' };
  }

  /**
   * Sends what waits, now; what cannot be read stays, and is the `lastError` of `status()`.
   * @returns how many entries still wait, of those that can be read
   * @throws STORAGE_UNAVAILABLE
   */
  async flush(): Promise<{ readonly pending: number }> {
    const parts = this.#parts;
    if (!parts) return { pending: 0 };
    await parts.delivery.flush();
    let pending = 0;
    for await (const queue of parts.outbox.queues((error) => parts.sender.note(error))) pending += queue.pending;
    return { pending };
  }

  /** @throws STORAGE_UNAVAILABLE */
  async status(): Promise<SyncStatus> {
    const parts = this.#parts;
    if (!parts) return { enabled: false, pending: 0, conversations: 0, dropped: 0, dead: 0, sent: 0 };
    const { outbox, sender, dead } = parts;
    let [pending, conversations, dropped] = [0, 0, 0];
    let oldest = Number.POSITIVE_INFINITY;
    for await (const queue of outbox.queues((error) => sender.note(error))) {
      pending += queue.pending;
      dropped += queue.dropped;
      if (queue.pending === 0) continue;
      conversations++;
      const since = await outbox.oldest(queue).catch((error: unknown) => {
        throwIfDown(error);
        sender.note(error);
        return undefined;
      });
      oldest = Math.min(oldest, since ?? oldest);
    }
    const { lastSuccess, lastError, pausedUntil, sent } = sender;
    return {
      enabled: true,
      pending,
      conversations,
      ...(Number.isFinite(oldest) && { oldest: toIso(oldest) }),
      dropped,
      dead: await dead.count(),
      sent,
      ...(lastSuccess !== undefined && { lastSuccess: toIso(lastSuccess) }),
      ...(lastError && {
        lastError: { at: toIso(lastError.at), code: lastError.error.code, message: lastError.error.message },
      }),
      ...(pausedUntil !== undefined && { pausedUntil: toIso(pausedUntil) }),
    };
  }

  /** Entries that the remote refused for good, and that were set aside. */
  async *deadLetters(): AsyncGenerator<DeadLetter, void, undefined> {
    if (this.#parts) yield* this.#parts.dead.list();
  }

  /** Puts one that was set aside at the end of its queue. @returns whether there was one */
  async retry(id: string): Promise<boolean> {
    const parts = this.#parts;
    const entry = await parts?.dead.get(id);
    if (!parts || !entry) return false;
    await parts.outbox.add(entry);
    await parts.dead.remove(id);
    parts.delivery.nudge(entry.target);
    return true;
  }

  /** Gives one up that was set aside. @returns whether there was one */
  async discard(id: string): Promise<boolean> {
    return (await this.#parts?.dead.remove(id)) ?? false;
  }

  /** Stops sending. What has not been sent stays in the outbox. The storage stays open. Idempotent. */
  async close(): Promise<void> {
    if (!this.#parts) return;
    forgetSync(this.#options.storage, this);
    await this.#parts.delivery.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #assemble(): Parts {
    const { storage, client: given, clock = systemClock, random = Math.random, logger = silentLogger } = this.#options;
    if (!given) throw new AgentUpError('INVALID_ARGUMENT', 'the client of the sync is missing', { argument: 'client' });
    const client = given instanceof ConversationClient ? given : new ConversationClient({ ...given, clock, random });
    const outbox = new Outbox(storage, this.#options.outbox);
    const dead = new DeadLetters(storage);
    const sender = new Sender({
      outbox,
      dead,
      client,
      events: this.#events,
      logger,
      clock,
      random,
      backoff: this.#options.backoff ?? { baseMs: 500, maxMs: 30_000 },
      leaseMs: this.#options.leaseMs ?? 30_000,
      concurrency: this.#options.concurrency ?? 8,
    });
    const { background = true, everyMs = 5_000 } = this.#options;
    const delivery = new BackgroundDelivery({
      outbox,
      sender,
      clock,
      logger,
      everyMs: background ? everyMs : undefined,
    });
    return { client, outbox, dead, sender, delivery, clock, logger };
  }

  #target(user: SyncUser): SyncTarget {
    const { subDomain = this.#options.subDomain, ...rest } = typeof user === 'string' ? { userId: user } : user;
    checkId(rest.userId, 'userId');
    checkId(subDomain, 'subDomain');
    return { ...rest, subDomain };
  }

  async #queue(user: SyncUser, work: (now: number) => Work): Promise<SyncReceipt> {
    const parts = this.#parts;
    if (!parts) return DISABLED;
    let target: SyncTarget | undefined;
    try {
      target = this.#target(user);
      const at = parts.clock.now();
      const entry: OutboxEntry = { id: uniqueId(), at, target, work: work(at) };
      if (entry.work.op === 'state' && Object.keys(entry.work.body).length === 0) return { status: 'queued' };
      // Refused here, where the caller can be told of what.
      encode(entry);
      const { boundMs = 2_000 } = this.#options;
      // It may come to an end all the same.
      await within(boundMs, parts.delivery.note(entry), () => {
        throw new AgentUpError('STORAGE_UNAVAILABLE', `a change was not in the outbox within ${boundMs} ms`);
      });
      return { status: 'queued' };
    } catch (thrown) {
      const error = errorOf(thrown);
      parts.logger.error(error, 'a change could not be noted for the remote');
      this.#events.emit('failed', { target, error, lost: true });
      return { status: error.code === 'LIMIT_EXCEEDED' ? 'rejected' : 'failed', error };
    }
  }

  async #tryPull(parts: Parts, user: SyncUser, options: PullOptions): Promise<PullResult> {
    let target: SyncTarget | undefined;
    try {
      target = this.#target(user);
      return await this.#pull(parts, target, options);
    } catch (thrown) {
      const error = errorOf(thrown);
      if (error.code === 'SYNC_NOT_FOUND') return { status: 'absent' };
      this.#events.emit('failed', { target, error, lost: false });
      return { status: 'failed', error };
    }
  }

  async #pull(parts: Parts, target: SyncTarget, options: PullOptions): Promise<PullResult> {
    const { client, outbox, sender, delivery } = parts;
    await sender.send(outbox.keyOf(target));
    const remote = await client.ofUser(target.userId, { subDomain: target.subDomain, messages: 200 });
    const queue = await outbox.peek(target);
    const waiting = queue ? await outbox.pending(queue) : [];
    const pending = new Set(Object.keys(fieldsOf(bodyOf({ entries: waiting }), this.mapping)));
    const { storage, source = 'agentup' } = this.#options;
    const state = (await options.into?.getVariables()) ?? options.state ?? {};
    const base = await readBase(storage, target);
    const prefer = options.prefer ?? this.#options.prefer ?? 'local';
    const merged = merge({ state, remote, base, pending, mapping: this.mapping, prefer, source });
    for (const conflict of merged.conflicts) this.#events.emit('conflict', { ...conflict, target });
    if (options.into) await apply(options.into, merged);
    // What is on its way would undo what was decided for the remote.
    const undone = merged.conflicts.filter(({ field, chosen }) => chosen === 'remote' && pending.has(field));
    if (undone.length > 0) {
      const fields = Object.fromEntries(undone.map(({ field, remote: value }) => [field, value ?? null]));
      await this.update(target, toBody(fields));
    }
    const turn = enclosingTurn();
    if (turn && !turn.ended && options.into) {
      // A turn that fails has taken nothing over.
      turn.afterwards((committed) => {
        if (committed) delivery.track(writeBase(storage, target, merged.base).then(() => []));
      });
    } else await writeBase(storage, target, merged.base);
    const { base: _, ...rest } = merged;
    return { status: 'pulled', remote, ...rest };
  }
}

interface Parts {
  readonly client: ConversationClient;
  readonly outbox: Outbox;
  readonly dead: DeadLetters;
  readonly sender: Sender;
  readonly delivery: BackgroundDelivery;
  readonly clock: NonNullable<ConversationSyncOptions['clock']>;
  readonly logger: NonNullable<ConversationSyncOptions['logger']>;
}

function errorOf(thrown: unknown): AgentUpError {
  if (isAgentUpError(thrown)) return thrown;
  return new AgentUpError('INVALID_ARGUMENT', messageOf(thrown), { cause: thrown });
}
