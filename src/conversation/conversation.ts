import { setTimeout as delay } from 'node:timers/promises';
import { type Clock, toIso } from '../clock.js';
import { AgentUpError } from '../errors.js';
import { decode, encode, encodeNamed, type JsonValue, type Token } from '../json.js';
import { isStandardSchema, type OutputOf, type StandardSchema, validate } from '../standard-schema.js';
import { checkCount, checkTtl, shownValue } from '../storage/changes.js';
import { checkId } from '../storage/keys.js';
import { plainField, shownField } from '../storage/shown-field.js';
import type { LogPage } from '../storage/state-storage.js';
import type { Access, Answer, Attributes } from './access.js';
import { forbidden } from './forbidden.js';
import { GRACE, LIFE, lifeOf, outlived } from './life.js';
import { type ConversationLimits, checkName, checkSize } from './limits.js';
import { decodeMessages, encodeMessage, type Message, type RoleInput } from './message.js';
import { type TokenCounter, withinTokens } from './token-budget.js';

/** A conversation as it was at one moment. Times are ISO 8601 UTC. */
export interface ConversationState {
  readonly contextId: string;
  readonly userId?: string;
  readonly variables: Record<string, unknown>;
  readonly metadata: Record<string, unknown>;
  /** The newest messages, oldest first. */
  readonly history: Message<unknown>[];
  /** Messages ever added since the history began or was cleared. */
  readonly historyTotal: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  /** Absent: never expires. */
  readonly expiresAt?: string;
}

/** A stretch of the history. Positions count every message ever added from 0 on. */
export interface HistoryPage<Content = string> {
  readonly messages: Message<Content>[];
  /** Position of the first of `messages`: pass it as `before` for the page before. */
  readonly start: number;
  readonly total: number;
  /** Messages that `history.max` has dropped. */
  readonly dropped: number;
}

export interface HistoryOptions {
  /** At most this many, the newest. Default: all. */
  readonly limit?: number;
  /** Only messages before this position. */
  readonly before?: number;
}

export interface BudgetedHistoryOptions extends HistoryOptions {
  /** Only the newest messages that together have at most so many tokens. */
  readonly maxTokens?: number;
  /** Counts those of one message. Default: `estimateTokens`, which guesses. */
  readonly countTokens?: TokenCounter;
}

export interface SchemaOptions<S extends StandardSchema, Default> {
  readonly schema: S;
  /** Returned, without validation, where there is nothing. */
  readonly default?: Default;
}

/** How often `updateVariable` tries again when others write at the same time. */
const MAX_UPDATE_TRIES = 50;

export interface ConversationParts {
  readonly contextId: string;
  readonly limits: ConversationLimits;
  readonly clock: Clock;
  /** The user the caller acts for; the owner of what it creates. */
  readonly userId: string | undefined;
  /** Messages in `getOrCreate`. */
  readonly historyLoad: number;
  /** Asked at every call: a turn may run, or have ended. */
  readonly access: () => Access;
  /** Has its end looked at then, epoch milliseconds. */
  readonly dueAt: (at: number) => Promise<unknown>;
}

/**
 * The handle to one conversation: variables, history, metadata, lifetime. In a turn its calls read the turn's
 * snapshot and collect its changes; outside one each call is an atomic delta of its own.
 */
export class Conversation {
  readonly #parts: ConversationParts;

  constructor(parts: ConversationParts) {
    this.#parts = parts;
  }

  get contextId(): string {
    return this.#parts.contextId;
  }

  /** The variable as `options.schema` puts it out, or `options.default` where there is none. @throws SCHEMA_INVALID */
  getVariable<S extends StandardSchema, D = undefined>(
    name: string,
    options: SchemaOptions<S, D>,
  ): Promise<OutputOf<S> | D>;
  /** The variable, a copy; `undefined` where there is none. A stored `null` is `null`. */
  getVariable<T = unknown>(name: string): Promise<T | undefined>;
  /** The variable, a copy; `fallback` where there is none. A stored `null` is `null`, not the fallback. */
  getVariable<T>(name: string, fallback: T): Promise<T>;
  getVariable(name: string, fallback?: unknown): Promise<unknown> {
    return this.#get('var:', name, fallback);
  }

  /** Sets it to any JSON; of a `Date` store its `toISOString()`. @throws VALUE_NOT_JSON, LIMIT_EXCEEDED */
  setVariable(name: string, value: unknown): Promise<void> {
    return this.#set('var:', name, value);
  }

  /** Removes it. @returns whether there was one */
  deleteVariable(name: string): Promise<boolean> {
    return this.#delete('var:', name);
  }

  /**
   * Adds a whole number and returns the sum; a missing variable counts as 0. Concurrent increments all count.
   * @throws WRONG_TYPE when the variable holds anything but an integer, INTEGER_OVERFLOW past 2^53−1
   */
  async incrementVariable(name: string, by = 1): Promise<number> {
    const field = this.#field('var:', name);
    if (!Number.isSafeInteger(by)) {
      throw new AgentUpError('INVALID_ARGUMENT', `by is ${shownValue(by)}; only whole numbers are added`, {
        argument: 'by',
      });
    }
    const answer = this.#access().apply([{ op: 'increment', field, by }]);
    const sums = answer instanceof Promise ? await answer : answer;
    return sums.get(field) as number;
  }

  /** Appends to a list; a missing variable becomes one. @throws WRONG_TYPE when it holds anything but a list */
  async appendToVariable(name: string, item: unknown): Promise<void> {
    const field = this.#field('var:', name);
    const applied = this.#access().apply([{ op: 'append', field, item: this.#token(item, field) }]);
    if (applied instanceof Promise) await applied;
  }

  /**
   * Replaces the variable by what `update` makes of it, and returns that. Outside a turn `update` is called again
   * when somebody else wrote meanwhile, so it must not have effects of its own.
   * @throws CONFLICT when others keep writing
   */
  async updateVariable<T = unknown>(name: string, update: (value: T | undefined) => T | Promise<T>): Promise<T> {
    const field = this.#field('var:', name);
    for (let tries = 0; tries < MAX_UPDATE_TRIES; tries++) {
      const access = this.#access();
      const before = await access.field(field);
      const value = await update(before === undefined ? undefined : decode<T>(before));
      const token = this.#token(value, field);
      if (await access.replace(field, before, token)) return decode<T>(token);
      await delay(Math.random() * Math.min(2 ** tries, 50));
    }
    throw new AgentUpError('CONFLICT', `${shownField(field)} kept changing while it was updated`, {
      contextId: this.contextId,
      field: name,
    });
  }

  /** All variables by their names, copies. */
  async getVariables(): Promise<Record<string, unknown>> {
    return entries(await this.#access().fields(), 'var:');
  }

  /** The entry of the metadata as `options.schema` puts it out, or `options.default` where there is none. @throws SCHEMA_INVALID */
  getMetadata<S extends StandardSchema, D = undefined>(
    name: string,
    options: SchemaOptions<S, D>,
  ): Promise<OutputOf<S> | D>;
  /** The entry of the metadata, a copy; `undefined` where there is none. A stored `null` is `null`. */
  getMetadata<T = unknown>(name: string): Promise<T | undefined>;
  /** The entry of the metadata, a copy; `fallback` where there is none. A stored `null` is `null`, not the fallback. */
  getMetadata<T>(name: string, fallback: T): Promise<T>;
  getMetadata(name: string, fallback?: unknown): Promise<unknown> {
    return this.#get('meta:', name, fallback);
  }

  /** Sets it to any JSON; of a `Date` store its `toISOString()`. @throws VALUE_NOT_JSON, LIMIT_EXCEEDED */
  setMetadata(name: string, value: unknown): Promise<void> {
    return this.#set('meta:', name, value);
  }

  /** Removes it. @returns whether there was one */
  deleteMetadata(name: string): Promise<boolean> {
    return this.#delete('meta:', name);
  }

  /** Adds a message, with the time of now. @throws INVALID_ARGUMENT for an unknown role, VALUE_NOT_JSON, LIMIT_EXCEEDED */
  async addToHistory(
    role: RoleInput,
    content: JsonValue,
    metadata?: { readonly [name: string]: JsonValue },
  ): Promise<void> {
    const entry = encodeMessage(role, content, metadata, this.#parts.clock);
    checkSize(entry, () => 'the message', this.#parts.limits);
    const applied = this.#access().apply([{ op: 'log', entry }]);
    if (applied instanceof Promise) await applied;
  }

  /** Messages, oldest first. With `maxTokens` older ones are read only as far as they fit. */
  async getHistory<Content = string>(options: BudgetedHistoryOptions = {}): Promise<Message<Content>[]> {
    const { maxTokens } = options;
    if (maxTokens !== undefined) {
      return withinTokens<Content>({ ...options, maxTokens }, (page) => this.getHistoryPage<Content>(page));
    }
    const answer = this.#log(options);
    return decodeMessages<Content>((answer instanceof Promise ? await answer : answer).entries);
  }

  /** Messages with their place in the whole, for paging backwards. */
  async getHistoryPage<Content = string>(options: HistoryOptions = {}): Promise<HistoryPage<Content>> {
    const { entries: tokens, start, total, dropped } = await this.#log(options);
    return { messages: decodeMessages<Content>(tokens), start, total, dropped };
  }

  /** Removes all messages; variables and metadata stay. */
  async clearHistory(): Promise<void> {
    const access = this.#access();
    if (await access.attributes()) await access.apply([{ op: 'clearLog' }]);
  }

  /**
   * The conversation, created for `userId` where it is missing.
   * @throws CONTEXT_FORBIDDEN when it belongs to somebody else
   */
  async getOrCreate(options: { readonly userId?: string } = {}): Promise<ConversationState> {
    const userId = options.userId ?? this.#parts.userId;
    if (userId !== undefined) checkId(userId, 'userId');
    const access = this.#access();
    let contents = await access.contents(this.#parts.historyLoad);
    if (!contents) {
      await access.create(userId);
      contents = await access.contents(this.#parts.historyLoad);
    }
    if (!contents) throw new AgentUpError('CONFLICT', 'the conversation vanished while it was created', this.#ids());
    const { attributes, fields, log } = contents;
    this.#permit(attributes, userId);
    if (attributes.owner === undefined && userId !== undefined && !(await access.claim(userId))) {
      throw forbidden(this.contextId, userId);
    }
    const owner = attributes.owner ?? userId;
    const expiresAt = this.#expiresAt(attributes);
    return {
      contextId: this.contextId,
      ...(owner !== undefined && { userId: owner }),
      variables: entries(fields, 'var:'),
      metadata: entries(fields, 'meta:'),
      history: decodeMessages<unknown>(log.entries),
      historyTotal: log.total,
      createdAt: toIso(attributes.createdAt || this.#parts.clock.now()),
      updatedAt: toIso(attributes.updatedAt || this.#parts.clock.now()),
      ...(expiresAt !== undefined && { expiresAt: toIso(expiresAt) }),
    };
  }

  /** In a turn: commits what is there so far and goes on. Outside one everything has been written already. */
  async save(): Promise<void> {
    await this.#access().save();
  }

  /** Removes the conversation with all it holds. @returns whether there was one */
  async clearContext(): Promise<boolean> {
    return this.#access().erase();
  }

  /** Seconds until it expires; `null` never; `undefined` where there is no conversation. */
  async getTtl(): Promise<number | null | undefined> {
    const attributes = await this.#access().attributes();
    if (!attributes) return undefined;
    const expiresAt = this.#expiresAt(attributes);
    if (expiresAt === undefined) return null;
    return Math.max(0, Math.ceil((expiresAt - this.#parts.clock.now()) / 1000));
  }

  /**
   * Gives this conversation a time to live of its own, in seconds, renewed by every write; `'none'`: it never expires.
   * @returns whether there is a conversation
   * @throws TTL_INVALID
   */
  async setTtl(ttl: number | 'none'): Promise<boolean> {
    checkTtl(ttl);
    const access = this.#access();
    const before = await access.attributes();
    const life = before && lifeOf(before.life);
    if (life?.ttl === undefined) return access.expire({ set: ttl });
    if (ttl !== 'none') await this.#parts.dueAt(this.#parts.clock.now() + ttl * 1000);
    await access.apply([{ op: 'set', field: LIFE, value: encode({ ...life, ttl }) }]);
    return access.expire({ set: outlived(ttl) });
  }

  #log(options: HistoryOptions): Answer<LogPage> {
    if (options.limit !== undefined) checkCount(options.limit, 'limit', 0);
    if (options.before !== undefined) checkCount(options.before, 'before', 0);
    return this.#access().log(options);
  }

  #access(): Access {
    return this.#parts.access();
  }

  #ids(): { contextId: string } {
    return { contextId: this.contextId };
  }

  #expiresAt({ ttl, expiresAt, life }: Attributes): number | undefined {
    const grace = lifeOf(life)?.ttl === undefined ? 0 : GRACE * 1000;
    if (ttl === undefined) return expiresAt === undefined ? undefined : expiresAt - grace;
    return ttl === 'none' ? undefined : this.#parts.clock.now() + ttl * 1000 - grace;
  }

  #permit({ owner }: Attributes, userId: string | undefined): void {
    if (owner === undefined || userId === undefined || owner === userId) return;
    throw forbidden(this.contextId, userId);
  }

  #field(kind: 'var:' | 'meta:', name: string): string {
    checkName(name, this.#parts.limits);
    const field = kind + name;
    // In a turn the storage would refuse it at the end, and everything with it.
    checkId(field, 'name');
    return field;
  }

  #token(value: unknown, field: string): Token {
    const what = () => shownField(field);
    const token = encodeNamed(value, { what, field: () => plainField(field) });
    checkSize(token, what, this.#parts.limits);
    return token;
  }

  async #get(kind: 'var:' | 'meta:', name: string, fallback: unknown): Promise<unknown> {
    const answer = this.#access().field(this.#field(kind, name));
    const token = answer instanceof Promise ? await answer : answer;
    const options = isSchemaOptions(fallback) ? fallback : undefined;
    if (token === undefined) return options ? options.default : fallback;
    const value = decode(token);
    return options ? validate(options.schema, value, shownField(kind + name), name) : value;
  }

  async #set(kind: 'var:' | 'meta:', name: string, value: unknown): Promise<void> {
    const field = this.#field(kind, name);
    const applied = this.#access().apply([{ op: 'set', field, value: this.#token(value, field) }]);
    if (applied instanceof Promise) await applied;
  }

  async #delete(kind: 'var:' | 'meta:', name: string): Promise<boolean> {
    const field = this.#field(kind, name);
    const access = this.#access();
    if ((await access.field(field)) === undefined) return false;
    await access.apply([{ op: 'remove', field }]);
    return true;
  }
}

function isSchemaOptions(value: unknown): value is SchemaOptions<StandardSchema, unknown> {
  return typeof value === 'object' && value !== null && isStandardSchema((value as { schema?: unknown }).schema);
}

function entries(fields: ReadonlyMap<string, Token>, kind: string): Record<string, unknown> {
  const found: [string, unknown][] = [];
  for (const [field, token] of fields)
    if (field.startsWith(kind)) found.push([field.slice(kind.length), decode(token)]);
  return Object.fromEntries(found);
}
