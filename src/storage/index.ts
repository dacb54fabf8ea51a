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
export type { Durability } from './file/durability.js';
export { FileStorage, type FileStorageOptions } from './file/file-storage.js';
export {
  checkId,
  checkSpace,
  containerText,
  decodeName,
  encodeName,
  keyText,
  MAX_ID_LENGTH,
  type RecordKey,
} from './keys.js';
export { MemoryStorage, type MemoryStorageOptions } from './memory-storage.js';
export { BACKENDS, type BackendName, openStorage, type StorageOptions } from './open-storage.js';
export * from './state-storage.js';
export { type ReplicaDurability, ValkeyStorage, type ValkeyStorageOptions } from './valkey/valkey-storage.js';
