import { type Caches, createCaches } from '../caches/create-caches.js';
import { type Clock, systemClock, toIso } from '../clock.js';
import { AgentUpError } from '../errors.js';
import type { JsonValue } from '../json.js';
import { type Logger, silentLogger } from '../logger.js';
import type { OutputOf, StandardSchema } from '../standard-schema.js';
import { checkCount, checkTtl, shownValue } from '../storage/changes.js';
import { checkStorage } from '../storage/check-storage.js';
import { checkId, keyText, type RecordKey } from '../storage/keys.js';
import type { StateStorage } from '../storage/state-storage.js';
import type { Access } from './access.js';
import {
  type BudgetedHistoryOptions,
  Conversation,
  type ConversationState,
  type HistoryOptions,
  type HistoryPage,
  type SchemaOptions,
} from './conversation.js';
import { DirectAccess } from './direct-access.js';
import { announceEnd } from './ends.js';
import { type ConversationLimits, DEFAULT_LIMITS } from './limits.js';
import type { Message, RoleInput } from './message.js';
import { currentTurn, type TurnSettings } from './run-turn.js';
import type { Turn } from './turn.js';

/** Whose conversations a context speaks of. */
export interface ConversationScope {
  /**
   * `conversation`: one memory per context id. `session`: per user and context id. `user`: one per user, and the
   * context id is the user's.
   */
  readonly kind?: 'conversation' | 'user' | 'session';
  /** Conversations of different tenants never meet, whatever their ids. */
  readonly tenantId?: string | undefined;
  readonly userId?: string | undefined;
}

export interface ConversationContextOptions {
  readonly scope?: ConversationScope;
  /** Seconds until an untouched conversation expires; default: that of the storage. */
  readonly ttl?: number | 'none' | undefined;
  readonly history?: {
    /** Messages loaded at the beginning of a turn. Default 20. */
    readonly load?: number | undefined;
    /** Newest messages kept. Default: all. */
    readonly max?: number | undefined;
  };
  readonly concurrency?: 'serial' | 'parallel' | undefined;
  /** A turn's lease ends by itself after so many seconds without a sign of life. Default 30. */
  readonly lease?: number | undefined;
  /** Longest wait of a turn for the ones before it, in seconds. Default 30. */
  readonly wait?: number | undefined;
  /** Most turns of one conversation that wait in one process. Default 100. */
  readonly maxWaiting?: number | undefined;
  /**
   * Newest messages of a conversation whose replies are kept, so that a redelivery is not handled again. Default 32;
   * 0: none are.
   */
  readonly dedupe?: number | undefined;
  /** What stateful handlers do when the storage cannot be reached: see `StatefulOptions`. Default `fail`. */
  readonly onUnavailable?: 'fail' | 'degrade' | undefined;
  readonly limits?: Partial<ConversationLimits>;
  readonly caches?: {
    /** Where `context.caches` are kept. Default: the storage of the conversations. */
    readonly storage?: StateStorage | undefined;
    /** Entries of more bytes than this are warned of. Default 64 KiB. */
    readonly warnBytes?: number | undefined;
  };
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

/** One conversation in a listing. Times are ISO 8601 UTC. */
export interface ConversationInfo {
  readonly contextId: string;
  readonly userId?: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly expiresAt?: string;
}

/** What contexts over one storage with the same options share. */
interface Common {
  readonly settings: TurnSettings;
  readonly limits: ConversationLimits;
  readonly clock: Clock;
}

/** The turn a context was injected into, and the context id of its conversation. */
interface Bound {
  readonly turn: Turn;
  readonly contextId: string;
  readonly degraded: boolean;
  handle: Conversation | undefined;
}

/** What a context takes from the one it is made from. */
interface Derived {
  readonly common: Common;
  readonly scope: ConversationScope;
  readonly bound?: Bound;
}

/**
 * The conversations of a storage; every call names one. What a call does is documented at `Conversation`, the handle
 * to one. In a handler it is injected by `@stateful()`; elsewhere make one over a storage.
 */
export class ConversationContext {
  readonly storage: StateStorage;
  readonly options: ConversationContextOptions;
  /** True where the storage was down and `onUnavailable: 'degrade'` went on without: nothing here is kept. */
  readonly degraded: boolean;
  readonly #common: Common;
  readonly #scope: ConversationScope;
  readonly #bound: Bound | undefined;
  #caches: Caches | undefined;

  constructor(
    storage: StateStorage,
    options: ConversationContextOptions = {},
    /** @internal */
    derived?: Derived,
  ) {
    if (!derived) checkStorage(storage, 'a ConversationContext');
    this.storage = storage;
    this.options = options;
    this.#common = derived?.common ?? commonOf(storage, options);
    this.#scope = derived?.scope ?? options.scope ?? {};
    this.#bound = derived?.bound;
    this.degraded = derived?.bound?.degraded ?? false;
  }

  /** How turns on this context run. */
  get settings(): TurnSettings {
    return this.#common.settings;
  }

  get limits(): ConversationLimits {
    return this.#common.limits;
  }

  /** Whose conversations these are. */
  get scope(): ConversationScope {
    return this.#scope;
  }

  get clock(): Clock {
    return this.#common.clock;
  }

  get logger(): Logger {
    return this.options.logger ?? silentLogger;
  }

  /**
   * State, user and table cache of the tenant and user that the scope names, over the same storage unless
   * `options.caches` names one. They write at once: what a turn puts there stays when the turn fails.
   * @throws INVALID_ARGUMENT where no tenant is named
   */
  get caches(): Caches {
    const { tenantId, userId } = this.#scope;
    if (tenantId === undefined) {
      throw new AgentUpError('INVALID_ARGUMENT', 'caches belong to a tenant, and the task names none', {
        argument: 'tenantId',
        fix: 'set `tenantId` (and `userId`) on the task',
      });
    }
    const { clock, logger, caches } = this.options;
    const storage = caches?.storage ?? this.storage;
    this.#caches ??= createCaches({ storage, tenantId, userId, warnBytes: caches?.warnBytes, clock, logger });
    return this.#caches;
  }

  /** The same storage and settings for another scope. */
  scoped(scope: ConversationScope): ConversationContext {
    return new ConversationContext(this.storage, this.options, { common: this.#common, scope });
  }

  /** This context as a running turn sees it. @internal */
  inTurn(turn: Turn, contextId: string, degraded: boolean): ConversationContext {
    const bound: Bound = { turn, contextId, degraded, handle: undefined };
    const derived = { common: this.#common, scope: this.#scope, bound };
    turn.context = new ConversationContext(this.storage, this.options, derived);
    return turn.context;
  }

  /** The same settings over another storage. @internal */
  over(storage: StateStorage): ConversationContext {
    return new ConversationContext(storage, { ...this.options, scope: this.#scope });
  }

  /** The storage key of a conversation. @throws CONTEXT_ID_MISSING, INVALID_ARGUMENT, LIMIT_EXCEEDED */
  keyOf(contextId: string): RecordKey {
    if (contextId === undefined || contextId === null || contextId === '') {
      throw new AgentUpError('CONTEXT_ID_MISSING', 'the context id is missing or empty', { argument: 'contextId' });
    }
    checkId(contextId, 'contextId');
    const { space, scope } = this.#container();
    return { space, scope, id: contextId };
  }

  /** The handle to one conversation. */
  conversation(contextId: string): Conversation {
    const bound = this.#bound;
    if (!bound || contextId !== bound.contextId) return this.#handle(contextId);
    bound.handle ??= this.#handle(contextId);
    return bound.handle;
  }

  /**
   * The variable as `options.schema` puts it out, or `options.default` where there is none.
   * @throws SCHEMA_INVALID
   */
  getVariable<S extends StandardSchema, D = undefined>(
    contextId: string,
    name: string,
    options: SchemaOptions<S, D>,
  ): Promise<OutputOf<S> | D>;
  /** The variable, a copy; `undefined` where there is none. A stored `null` is `null`. */
  getVariable<T = unknown>(contextId: string, name: string): Promise<T | undefined>;
  /** The variable, a copy; `fallback` where there is none. A stored `null` is `null`, not the fallback. */
  getVariable<T>(contextId: string, name: string, fallback: T): Promise<T>;
  getVariable(contextId: string, name: string, fallback?: unknown): Promise<unknown> {
    return this.conversation(contextId).getVariable(name, fallback);
  }

  /**
   * Sets the variable to any JSON; what was there goes. Of a `Date` store its `toISOString()`, of a `Map` its `Object.fromEntries()`.
   * @throws VALUE_NOT_JSON for a date, a Map, `undefined` and the like, with what to store instead; LIMIT_EXCEEDED
   */
  setVariable(contextId: string, name: string, value: unknown): Promise<void> {
    return this.conversation(contextId).setVariable(name, value);
  }

  /** Removes the variable. @returns whether there was one */
  deleteVariable(contextId: string, name: string): Promise<boolean> {
    return this.conversation(contextId).deleteVariable(name);
  }

  /**
   * Adds a whole number and returns the sum; a missing variable counts as 0. Concurrent increments all count.
   * @throws WRONG_TYPE when the variable holds anything but an integer, INTEGER_OVERFLOW past 2^53−1
   */
  incrementVariable(contextId: string, name: string, by = 1): Promise<number> {
    return this.conversation(contextId).incrementVariable(name, by);
  }

  /**
   * Appends to a list; a missing variable becomes one. Concurrent appends all count.
   * @throws WRONG_TYPE when it holds anything but a list, VALUE_NOT_JSON
   */
  appendToVariable(contextId: string, name: string, item: unknown): Promise<void> {
    return this.conversation(contextId).appendToVariable(name, item);
  }

  /**
   * Replaces the variable by what `update` makes of it, and returns that. Outside a turn `update` is called again when
   * somebody else wrote meanwhile, so it must not have effects of its own.
   * @throws CONFLICT when others keep writing
   */
  updateVariable<T = unknown>(
    contextId: string,
    name: string,
    update: (value: T | undefined) => T | Promise<T>,
  ): Promise<T> {
    return this.conversation(contextId).updateVariable(name, update);
  }

  /** All variables by their names, copies. */
  getVariables(contextId: string): Promise<Record<string, unknown>> {
    return this.conversation(contextId).getVariables();
  }

  /**
   * The entry of the metadata as `options.schema` puts it out, or `options.default` where there is none.
   * @throws SCHEMA_INVALID
   */
  getMetadata<S extends StandardSchema, D = undefined>(
    contextId: string,
    name: string,
    options: SchemaOptions<S, D>,
  ): Promise<OutputOf<S> | D>;
  /** The entry of the metadata, a copy; `undefined` where there is none. A stored `null` is `null`. */
  getMetadata<T = unknown>(contextId: string, name: string): Promise<T | undefined>;
  /** The entry of the metadata, a copy; `fallback` where there is none. A stored `null` is `null`, not the fallback. */
  getMetadata<T>(contextId: string, name: string, fallback: T): Promise<T>;
  getMetadata(contextId: string, name: string, fallback?: unknown): Promise<unknown> {
    return this.conversation(contextId).getMetadata(name, fallback);
  }

  /** Sets an entry of the metadata, what is about the conversation and not in it: a channel. As `setVariable`. */
  setMetadata(contextId: string, name: string, value: unknown): Promise<void> {
    return this.conversation(contextId).setMetadata(name, value);
  }

  /** Removes the entry. @returns whether there was one */
  deleteMetadata(contextId: string, name: string): Promise<boolean> {
    return this.conversation(contextId).deleteMetadata(name);
  }

  /**
   * Adds a message, with the time of now. `agent` and `bot` are stored as `assistant`.
   * @throws INVALID_ARGUMENT for an unknown role, VALUE_NOT_JSON, LIMIT_EXCEEDED
   */
  addToHistory(
    contextId: string,
    role: RoleInput,
    content: JsonValue,
    metadata?: { readonly [name: string]: JsonValue },
  ): Promise<void> {
    return this.conversation(contextId).addToHistory(role, content, metadata);
  }

  /** The newest messages, oldest first: all, or `limit` of them, or those that fit into `maxTokens`. */
  getHistory<Content = string>(contextId: string, options?: BudgetedHistoryOptions): Promise<Message<Content>[]> {
    return this.conversation(contextId).getHistory<Content>(options);
  }

  /** Messages with their place in the whole: the `start` of one page is the `before` of the one behind it. */
  getHistoryPage<Content = string>(contextId: string, options?: HistoryOptions): Promise<HistoryPage<Content>> {
    return this.conversation(contextId).getHistoryPage<Content>(options);
  }

  /** Removes all messages; variables and metadata stay. */
  clearHistory(contextId: string): Promise<void> {
    return this.conversation(contextId).clearHistory();
  }

  /**
   * The conversation with all it holds, created for `userId` where it is missing.
   * @throws CONTEXT_FORBIDDEN when it belongs to somebody else
   */
  async getOrCreate(contextId: string, options?: { readonly userId?: string }): Promise<ConversationState> {
    return this.conversation(contextId).getOrCreate(options);
  }

  /** In a turn: commits what is there so far and goes on. Outside one everything has been written already. */
  save(contextId: string): Promise<void> {
    return this.conversation(contextId).save();
  }

  /** Removes the conversation with all it holds. @returns whether there was one */
  clearContext(contextId: string): Promise<boolean> {
    return this.conversation(contextId).clearContext();
  }

  /** Seconds until it expires; `null` never; `undefined` where there is no conversation. */
  getTtl(contextId: string): Promise<number | null | undefined> {
    return this.conversation(contextId).getTtl();
  }

  /**
   * Gives this conversation a time to live of its own, in seconds, renewed by every write; `'none'`: it never expires.
   * @returns whether there is a conversation
   * @throws TTL_INVALID
   */
  setTtl(contextId: string, ttl: number | 'none'): Promise<boolean> {
    return this.conversation(contextId).setTtl(ttl);
  }

  /**
   * The conversations of this scope, from an index: one user's, or those that nobody has written to since. `limit` and
   * `after`, the last context id of a page, bring them page by page.
   */
  async *listContexts(
    query: {
      readonly userId?: string;
      readonly updatedBefore?: Date | string | number;
      readonly after?: string;
      readonly limit?: number;
    } = {},
  ): AsyncGenerator<ConversationInfo, void, undefined> {
    const { space, scope } = this.#container();
    const updatedBefore = query.updatedBefore === undefined ? undefined : epochOf(query.updatedBefore);
    const records = this.storage.list({
      space,
      scope,
      ...(query.userId !== undefined && { owner: query.userId }),
      ...(updatedBefore !== undefined && { updatedBefore }),
      ...(query.after !== undefined && { after: query.after }),
      ...(query.limit !== undefined && { limit: query.limit }),
    });
    for await (const { key, owner, createdAt, updatedAt, expiresAt } of records) {
      yield {
        contextId: key.id,
        ...(owner !== undefined && { userId: owner }),
        createdAt: toIso(createdAt),
        updatedAt: toIso(updatedAt),
        ...(expiresAt !== undefined && { expiresAt: toIso(expiresAt) }),
      };
    }
  }

  /**
   * Removes the conversations of this scope that nobody has written to for `maxAgeHours`, and returns how many.
   * Fractions of an hour count. A conversation in a running turn stays.
   */
  async cleanupOldContexts({ maxAgeHours }: { readonly maxAgeHours: number }): Promise<number> {
    if (typeof maxAgeHours !== 'number' || !Number.isFinite(maxAgeHours) || maxAgeHours < 0) {
      throw new AgentUpError('INVALID_ARGUMENT', `maxAgeHours is ${shownValue(maxAgeHours)}; a number from 0 on`, {
        argument: 'maxAgeHours',
      });
    }
    const { space, scope } = this.#container();
    return this.storage.sweep({ space, scope, updatedBefore: this.#common.clock.now() - maxAgeHours * 3_600_000 });
  }

  #handle(contextId: string): Conversation {
    const { limits, clock, settings } = this.#common;
    return new Conversation({
      contextId,
      limits,
      clock,
      userId: this.#scope.userId,
      historyLoad: settings.historyLoad,
      access: () => this.#access(contextId),
      dueAt: (at) => announceEnd(this.storage, { key: this.keyOf(contextId), at, now: clock.now() }),
    });
  }

  #access(contextId: string): Access {
    if (this.#bound && contextId === this.#bound.contextId) return this.#bound.turn;
    const key = this.keyOf(contextId);
    return currentTurn(this.storage, keyText(key)) ?? new DirectAccess(this.storage, key, this.#common.settings);
  }

  #container(): Pick<RecordKey, 'space' | 'scope'> {
    const { kind = 'conversation', tenantId, userId } = this.#scope;
    const tenant = tenantId === undefined ? [] : [tenantId];
    if (kind === 'conversation') return { space: 'contexts', scope: tenant };
    if (kind === 'user') return { space: 'users', scope: tenant };
    if (userId === undefined || userId === '') {
      throw new AgentUpError('CONTEXT_ID_MISSING', 'a session belongs to a user, and the task names none', {
        argument: 'userId',
      });
    }
    return { space: 'sessions', scope: [...tenant, userId] };
  }
}

// A context made by another installed copy of the package is one as well: where it is passed, it must not be passed over.
const BRAND = Symbol.for('agentup.context');
Object.defineProperty(ConversationContext.prototype, BRAND, { value: true });
Object.defineProperty(ConversationContext, Symbol.hasInstance, {
  value: (value: unknown): boolean => typeof value === 'object' && value !== null && BRAND in value,
});

function commonOf(storage: StateStorage, options: ConversationContextOptions): Common {
  if (options.ttl !== undefined) checkTtl(options.ttl);
  if (options.dedupe !== undefined) checkCount(options.dedupe, 'dedupe', 0);
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const clock = options.clock ?? systemClock;
  const settings: TurnSettings = {
    ttl: options.ttl ?? storage.ttl ?? 'none',
    historyLoad: options.history?.load ?? 20,
    historyMax: options.history?.max,
    maxEntries: limits.entries,
    concurrency: options.concurrency ?? 'serial',
    leaseMs: (options.lease ?? 30) * 1000,
    waitMs: (options.wait ?? 30) * 1000,
    maxWaiting: options.maxWaiting ?? 100,
    dedupe: options.dedupe ?? 32,
    clock,
  };
  return { settings, limits, clock };
}

function epochOf(moment: Date | string | number): number {
  const epoch = moment instanceof Date ? moment.getTime() : typeof moment === 'string' ? Date.parse(moment) : moment;
  if (!Number.isFinite(epoch)) {
    throw new AgentUpError('INVALID_ARGUMENT', 'updatedBefore is not a moment in time', { argument: 'updatedBefore' });
  }
  return epoch;
}
