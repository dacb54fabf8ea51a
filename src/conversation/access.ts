import type { Token } from '../json.js';
import type { Change, Expiry, LogOptions, LogPage } from '../storage/state-storage.js';

/** What is known of a conversation beside its contents. Epoch milliseconds. */
export interface Attributes {
  readonly owner: string | undefined;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly expiresAt: number | undefined;
  /** In a turn: the time to live that its commit will give, in seconds; then `expiresAt` is out of date. */
  readonly ttl?: number | 'none' | undefined;
  /** What its lifecycle has noted: see `Life`. */
  readonly life?: Token | undefined;
}

/** Everything of a conversation at one moment. */
export interface Contents {
  readonly attributes: Attributes;
  readonly fields: ReadonlyMap<string, Token>;
  readonly log: LogPage;
}

/**
 * An answer that is there already, or comes. In a turn most are there, and a promise for each would cost more than
 * what it stands for: await an answer only where it is one.
 */
export type Answer<T> = T | Promise<T>;

/**
 * How operations reach one conversation: through the working copy of a running turn, or straight through to the
 * storage. `Conversation` is written once over this.
 */
export interface Access {
  field(name: string): Answer<Token | undefined>;
  fields(): Answer<ReadonlyMap<string, Token>>;
  log(options: LogOptions): Answer<LogPage>;
  attributes(): Answer<Attributes | undefined>;
  /** All at once, with the newest `log` messages. */
  contents(log: number): Answer<Contents | undefined>;
  /** Applies all or nothing; the new values of incremented fields. */
  apply(changes: readonly Change[]): Answer<Map<string, number>>;
  /** Sets a field if it still holds `expected`. */
  replace(field: string, expected: Token | undefined, value: Token): Answer<boolean>;
  /** Creates the conversation for an owner unless it is there. */
  create(owner: string | undefined): Answer<void>;
  /** Makes `owner` the owner of a conversation that has none. Whether it is the owner now. */
  claim(owner: string): Answer<boolean>;
  /** Changes when an existing conversation expires; false where there is none. */
  expire(expiry: Expiry): Answer<boolean>;
  erase(): Answer<boolean>;
  /** Writes down what is there so far. */
  save(): Promise<void>;
}
