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
}

/** Everything of a conversation at one moment. */
export interface Contents {
  readonly attributes: Attributes;
  readonly fields: ReadonlyMap<string, Token>;
  readonly log: LogPage;
}

/**
 * How operations reach one conversation: through the working copy of a running turn, or straight through to the
 * storage. `Conversation` is written once over this.
 */
export interface Access {
  field(name: string): Promise<Token | undefined>;
  fields(): Promise<ReadonlyMap<string, Token>>;
  log(options: LogOptions): Promise<LogPage>;
  attributes(): Promise<Attributes | undefined>;
  /** All at once, with the newest `log` messages. */
  contents(log: number): Promise<Contents | undefined>;
  /** Applies all or nothing; the new values of incremented fields. */
  apply(changes: readonly Change[]): Promise<Map<string, number>>;
  /** Sets a field if it still holds `expected`. */
  replace(field: string, expected: Token | undefined, value: Token): Promise<boolean>;
  /** Creates the conversation for an owner unless it is there. */
  create(owner: string | undefined): Promise<void>;
  /** Makes `owner` the owner of a conversation that has none. Whether it is the owner now. */
  claim(owner: string): Promise<boolean>;
  /** Changes when an existing conversation expires; false where there is none. */
  expire(expiry: Expiry): Promise<boolean>;
  erase(): Promise<boolean>;
  /** Writes down what is there so far. */
  save(): Promise<void>;
}
