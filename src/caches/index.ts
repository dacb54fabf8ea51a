export { CacheEntry } from './cache-entry.js';
export { CacheFactory, type CacheFactoryOptions, createCacheFactory } from './cache-factory.js';
export type { EntryKey } from './cache-keys.js';
export type { Entry, GetOptions, SetOptions, Ttl, WriteOptions } from './cache-options.js';
export { type CacheSettings, type Caches, type CachesOptions, createCaches } from './create-caches.js';
export {
  type ExpiredEntry,
  ExpiryActions,
  type ExpiryHandler,
  type ExpiryWorkerOptions,
} from './expiry-actions.js';
export type { KeyedCache } from './keyed-cache.js';
export { StateCache } from './state-cache.js';
export { type Invalid, type RowOf, Table, type TableOptions } from './table.js';
export { TableCache } from './table-cache.js';
export type { CreateResult, Expected, ReplaceResult } from './transitions.js';
export { UserCache } from './user-cache.js';
