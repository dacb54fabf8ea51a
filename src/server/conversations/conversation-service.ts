import type { Agent } from '../../agent/agent.js';
import { commitOptions } from '../../conversation/commit-settings.js';
import type { ConversationContext } from '../../conversation/conversation-context.js';
import { announceEnd } from '../../conversation/ends.js';
import { LIFE, lifeOf } from '../../conversation/life.js';
import { checkName, checkSize } from '../../conversation/limits.js';
import { decode, encode, type Token } from '../../json.js';
import { beginConversation } from '../../skill/begin-conversation.js';
import { encodeName, type RecordKey } from '../../storage/keys.js';
import { shownField } from '../../storage/shown-field.js';
import { type Change, REPLY_NOT_KEPT, type StateRecord } from '../../storage/state-storage.js';
import { ApiError, notFound } from './api-error.js';
import { type Edit, endEdit, extendEdit } from './changes.js';
import { etagOf, FIELDS, isThere } from './resource.js';

/** One conversation as it is. */
export interface Found {
  readonly key: RecordKey;
  readonly record: StateRecord;
}

export interface Written extends Found {
  /** The request had its effect before; this time it had none. */
  readonly replayed: boolean;
}

/** What makes a write safe. */
export interface WriteGuards {
  /** Of the request; its effect is had once under each. */
  readonly idempotencyKey?: string | undefined;
  /** Tells apart requests that come under one key. */
  readonly fingerprint: string;
  /** The state that the caller has seen. */
  readonly ifMatch?: string | undefined;
}

/** A conversation to be made, and for whom. */
export interface Wanted {
  readonly subDomain: string;
  readonly userId: string;
  readonly localId?: string | undefined;
  readonly botId?: string | undefined;
}

const MAX_TRIES = 20;

/**
 * The conversations of an agent, as the API reads and writes them. They are the same records that turns work on: an
 * entry of the context is a variable, a message an entry of the history. A write is one commit without the lease, so
 * it merges with a turn that runs, and waits for none.
 */
export class ConversationService {
  readonly #agent: Agent;
  readonly #ttl: number | 'none';

  constructor(agent: Agent, ttl: number | 'none') {
    this.#agent = agent;
    this.#ttl = ttl;
  }

  get clock() {
    return this.#agent.context.clock;
  }

  get storage() {
    return this.#agent.context.storage;
  }

  /** The user's active conversation: of several that which was written to last. */
  async ofUser(subDomain: string, userId: string, messages: number): Promise<Found | undefined> {
    const { storage } = this.#agent.context;
    const { space, scope } = this.#key(subDomain, 'any');
    const infos = [];
    for await (const info of storage.list({ space, scope, owner: userId })) infos.push(info);
    infos.sort((a, b) => b.updatedAt - a.updatedAt);
    for (const { key } of infos) {
      const record = await storage.read(key, { log: messages });
      if (isThere(record, this.clock.now()) && !record.fields.has(FIELDS.endedAt)) return { key, record };
    }
    return undefined;
  }

  /** @throws NOT_FOUND */
  async get(subDomain: string, sessionId: string, messages: number): Promise<Found> {
    const found = await this.find(subDomain, sessionId, messages);
    if (found) return found;
    throw notFound();
  }

  async find(subDomain: string, sessionId: string, messages: number): Promise<Found | undefined> {
    const key = this.#key(subDomain, sessionId);
    const record = await this.storage.read(key, { log: messages });
    return isThere(record, this.clock.now()) ? { key, record } : undefined;
  }

  /** Active ones, in the order of their ids' codes, behind `after`. */
  async list(
    subDomain: string,
    { limit, after, messages }: { limit: number; after: string | undefined; messages: number },
  ): Promise<{ found: Found[]; next: string | undefined }> {
    const { storage } = this.#agent.context;
    const { space, scope } = this.#key(subDomain, 'any');
    const found: Found[] = [];
    for await (const { key } of storage.list({ space, scope, ...(after !== undefined && { after }) })) {
      // A storage of somebody else may list all the same.
      if (after !== undefined && encodeName(key.id) <= encodeName(after)) continue;
      if (found.length === limit) return { found, next: found.at(-1)?.key.id };
      const record = await storage.read(key, { log: messages });
      if (isThere(record, this.clock.now()) && !record.fields.has(FIELDS.endedAt)) found.push({ key, record });
    }
    return { found, next: undefined };
  }

  /** Makes a conversation, and nothing of one that is there. */
  async make({ subDomain, userId, localId, botId }: Wanted, sessionId: string, messages: number): Promise<Found> {
    const metadata = { ...(localId !== undefined && { localId }), ...(botId !== undefined && { botId }) };
    await this.#agent.conversations.start(sessionId, { tenantId: subDomain, userId, metadata });
    const context = this.#scoped(subDomain, userId);
    if (!(await context.setTtl(sessionId, this.#ttl))) {
      // The skills that hear of a beginning keep their memory elsewhere: per user, or on another storage.
      await beginConversation(context, sessionId, { skills: [], metadata });
      await context.setTtl(sessionId, this.#ttl);
    }
    return this.get(subDomain, sessionId, messages);
  }

  /**
   * Applies changes in one step, once under an idempotency key, to a conversation that has not ended.
   * @throws NOT_FOUND, CONFLICT, CONVERSATION_ENDED, IDEMPOTENCY_MISMATCH
   */
  async write(
    { key, record: seen }: Found,
    guards: WriteGuards,
    edit: (record: StateRecord) => Edit,
    messages: number,
  ): Promise<Written> {
    const { storage, settings } = this.#agent.context;
    const { idempotencyKey, fingerprint, ifMatch } = guards;
    const idempotency =
      idempotencyKey === undefined
        ? undefined
        : { key: `api ${idempotencyKey}`, reply: encode(fingerprint), keep: Math.max(settings.dedupe, 32) };
    const replay = async (reply: Token): Promise<Written> => {
      // Of an unreadable one it is known that it had its effect.
      if (reply === REPLY_NOT_KEPT || decode(reply) === fingerprint)
        return { ...(await this.#again(key, messages)), replayed: true };
      throw new ApiError(422, 'IDEMPOTENCY_MISMATCH', 'This Idempotency-Key came with another request.');
    };
    let record: StateRecord | undefined = seen;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      if (!isThere(record, this.clock.now())) throw notFound();
      const fits = ifMatch === undefined || ifMatch === '*' || ifMatch === etagOf(record);
      if (!fits || record.fields.has(FIELDS.endedAt)) {
        // A request that comes again may itself have put an end to the state that it asks for.
        const known = idempotency && (await storage.read(key, { fields: [], idempotencyKey: idempotency.key }))?.reply;
        if (known !== undefined) return replay(known);
        throw fits ? ended() : conflict();
      }
      const { changes, from, ttl } = edit(record);
      const condition = {
        exists: true,
        ...from,
        ...(ifMatch !== undefined && ifMatch !== '*' && { version: record.version }),
        fields: new Map([...(from?.fields ?? []), [FIELDS.endedAt, undefined]]),
      };
      const options = commitOptions(settings, {
        condition,
        ...(idempotency && { idempotency }),
        ...(ttl !== undefined && { expiry: { set: ttl } }),
      });
      const answer = await storage.commit(key, this.#checked(changes), options);
      if (answer.committed) return { ...(await this.#again(key, messages)), replayed: false };
      if (answer.record?.reply !== undefined) return replay(answer.record.reply);
      record = answer.record;
    }
    throw new ApiError(503, 'BUSY', 'This conversation kept changing. Try again later.');
  }

  /** Gives another time to live, or that of at first. @throws what `write` throws */
  async extend(found: Found, guards: WriteGuards, seconds: number | undefined, messages: number): Promise<Written> {
    const ttl = seconds ?? this.#ttl;
    const { storage } = this.#agent.context;
    const now = this.clock.now();
    // Looked at too early, it is announced again for when it is over.
    if (ttl !== 'none' && lifeOf(found.record.fields.get(LIFE))?.ttl !== undefined) {
      await announceEnd(storage, { key: found.key, at: now + ttl * 1000, now });
    }
    return this.write(found, guards, (record) => extendEdit(ttl, record), messages);
  }

  /** Ends it: it can be read until it expires. The hooks for its end run at once, or soon in another process. */
  async end(found: Found, guards: WriteGuards, messages: number): Promise<Written> {
    const now = this.clock.now();
    const announced = () => announceEnd(this.storage, { key: found.key, at: now, now });
    // Before it is ended: an entry that leads nowhere is found out, a missing one is not.
    const before = lifeOf(found.record.fields.get(LIFE))?.ttl === undefined ? undefined : await announced();
    const written = await this.write(found, guards, (record) => endEdit(record, this.clock), messages);
    const isOwed = lifeOf(written.record.fields.get(LIFE))?.ended === true;
    if (isOwed || before) this.#agent.conversations.lookAt(before ?? (await announced()));
    return written;
  }

  async #again(key: RecordKey, messages: number): Promise<Found> {
    const record = await this.#agent.context.storage.read(key, { log: messages });
    if (!record) throw notFound();
    return { key, record };
  }

  #checked(changes: Change[]): Change[] {
    const { limits } = this.#agent.context;
    for (const change of changes) {
      if (change.op === 'set') {
        checkName(change.field.slice(change.field.indexOf(':') + 1), limits);
        checkSize(change.value, () => shownField(change.field), limits);
      } else if (change.op === 'log') checkSize(change.entry, () => 'the message', limits);
    }
    return changes;
  }

  #key(subDomain: string, sessionId: string): RecordKey {
    return this.#scoped(subDomain, undefined).keyOf(sessionId);
  }

  #scoped(subDomain: string, userId: string | undefined): ConversationContext {
    return this.#agent.context.scoped({ kind: 'conversation', tenantId: subDomain, userId });
  }
}

function ended(): ApiError {
  return new ApiError(409, 'CONVERSATION_ENDED', 'This conversation has ended.');
}

function conflict(): ApiError {
  return new ApiError(412, 'CONFLICT', 'The conversation has changed since.');
}
