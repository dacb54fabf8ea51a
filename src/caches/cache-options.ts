import type { Logger } from '../logger.js';
import type { StandardSchema } from '../standard-schema.js';
import { checkTtl } from '../storage/changes.js';
import type { Expiry, StateStorage } from '../storage/state-storage.js';
import type { SingleFlight } from './single-flight.js';

/** What happens to an entry's life: seconds from now, `none` never ends, `keep` stays as it is (new: never ends). */
export type Ttl = number | 'none' | 'keep';

export interface WriteOptions {
  /** Of a whole entry the default is `none`, of one of its fields `keep`. */
  readonly ttl?: Ttl | undefined;
}

export interface SetOptions extends WriteOptions {
  /** Only if the entry still has this version, as `getEntry` told it; `null`: only if there is none. @throws CONFLICT */
  readonly version?: string | null | undefined;
  /** Validates what is stored. */
  readonly schema?: StandardSchema | undefined;
}

export interface GetOptions<S extends StandardSchema = StandardSchema> {
  /** Validates what was stored and returns its output. @throws SCHEMA_INVALID */
  readonly schema?: S | undefined;
}

/** A value with what is known of it. */
export interface Entry<T = unknown> {
  readonly value: T;
  /** Another one after every write, never one that was. */
  readonly version: string;
  /** Seconds until it expires; `null` never. */
  readonly ttl: number | null;
}

/** What all entries of a set of caches share. */
export interface CacheParts {
  readonly storage: StateStorage;
  readonly logger: Logger;
  /** Entries above this are warned of, in bytes. */
  readonly warnBytes: number;
  readonly now: () => number;
  readonly loads: SingleFlight;
}

/** The expiry for a commit. @throws TTL_INVALID */
export function expiryOf(ttl: Ttl | undefined, absent: Ttl): { expiry?: Expiry } {
  const wanted = ttl === undefined ? absent : ttl;
  if (wanted === 'keep') return {};
  checkTtl(wanted);
  return { expiry: { set: wanted } };
}
