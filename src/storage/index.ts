export { appendToken, decode, encode, integerOf, type Token } from '../json.js';
export {
  checkBegin,
  checkCommit,
  checkKey,
  checkTtl,
  MAX_TTL,
  meets,
  type Plan,
  plan,
  writes,
} from './changes.js';
export { checkList, checkRead, checkReadLog, checkSweep } from './check-queries.js';
export {
  EmbeddedStorage,
  type EmbeddedStorageOptions,
  type EmbeddedStore,
  type StoredRecord,
} from './embedded-storage.js';
export { EncryptedStorage, type EncryptionOptions } from './encryption/index.js';
export type { Durability } from './file/durability.js';
export { FileStorage, type FileStorageOptions } from './file/file-storage.js';
export { ForwardingStorage } from './forwarding-storage.js';
export {
  checkId,
  checkSpace,
  containerText,
  decodeName,
  encodeName,
  isSpace,
  keyOfText,
  keyRange,
  keyText,
  MAX_ID_LENGTH,
  type RecordKey,
} from './keys.js';
export { freeLease, holdsLease, type Lease, leaseLost, settleLease, takeLease } from './lease.js';
export { MemoryStorage, type MemoryStorageOptions } from './memory-storage.js';
export { ObservedStorage } from './observed-storage.js';
export { BACKENDS, type BackendName, openStorage, type StorageOptions, type StorageServices } from './open-storage.js';
export {
  answerOfText,
  answerText,
  applyFields,
  logRange,
  type Outcome,
  outcomeOf,
  type RecordAttributes,
} from './outcome.js';
export * from './state-storage.js';
export type { ValkeyClient } from './valkey/valkey-connection.js';
export { ValkeyStorage } from './valkey/valkey-storage.js';
export type { ReplicaDurability, ValkeyStorageOptions } from './valkey/valkey-storage-options.js';
