import { checkObject } from '../check-object.js';
import { type Clock, systemClock } from '../clock.js';
import { AgentUpError } from '../errors.js';
import { type Logger, silentLogger } from '../logger.js';
import { checkStorage } from '../storage/check-storage.js';
import type { StateStorage } from '../storage/state-storage.js';
import { checkName } from './cache-keys.js';
import type { CacheParts } from './cache-options.js';
import { ExpiryActions } from './expiry-actions.js';
import { SingleFlight } from './single-flight.js';
import { StateCache } from './state-cache.js';
import { TableCache } from './table-cache.js';
import { UserCache } from './user-cache.js';

export interface CacheSettings {
  /** Entries of more bytes than this are warned of: a cache is for ids, not for blobs. Default 64 KiB. */
  readonly warnBytes?: number | undefined;
  readonly logger?: Logger | undefined;
  readonly clock?: Clock | undefined;
}

export interface CachesOptions extends CacheSettings {
  readonly storage: StateStorage;
  readonly tenantId: string;
  /** Whose states and profile; without one there is only the table cache. */
  readonly userId?: string | undefined;
}

/** The caches of one tenant and user: nobody builds a key by hand. */
export interface Caches {
  /** @throws INVALID_ARGUMENT where no user was named */
  readonly stateCache: StateCache;
  /** @throws INVALID_ARGUMENT where no user was named */
  readonly userCache: UserCache;
  readonly tableCache: TableCache;
  /** What is done when time is up. */
  readonly expiry: ExpiryActions;
}

const shared = new WeakMap<StateStorage, SingleFlight>();

/** @throws INVALID_ARGUMENT for what is no storage; INVALID_ARGUMENT, LIMIT_EXCEEDED for a tenant or user that is no name */
export function createCaches(options: CachesOptions): Caches {
  checkObject(options, 'createCaches()', 'createCaches({ storage, tenantId, userId })');
  const { storage, tenantId, userId, warnBytes = 65_536, logger = silentLogger, clock = systemClock } = options;
  checkStorage(storage, 'createCaches()');
  checkName(tenantId, 'tenantId');
  if (userId !== undefined) checkName(userId, 'userId');
  let loads = shared.get(storage);
  if (!loads) {
    loads = new SingleFlight();
    shared.set(storage, loads);
  }
  const parts: CacheParts = { storage, logger, warnBytes, now: () => clock.now(), loads };
  const user = (): string => {
    if (userId !== undefined) return userId;
    throw new AgentUpError('INVALID_ARGUMENT', 'these caches name no user', {
      argument: 'userId',
      fix: 'give a userId to createCaches, or to the task',
    });
  };
  const made: { state?: StateCache; user?: UserCache; table?: TableCache; expiry?: ExpiryActions } = {};
  return {
    get stateCache() {
      made.state ??= new StateCache(parts, tenantId, user());
      return made.state;
    },
    get userCache() {
      made.user ??= new UserCache(parts, tenantId, user());
      return made.user;
    },
    get tableCache() {
      made.table ??= new TableCache(parts, tenantId);
      return made.table;
    },
    get expiry() {
      made.expiry ??= new ExpiryActions(parts, tenantId);
      return made.expiry;
    },
  };
}
