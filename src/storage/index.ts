export { MAX_TTL } from './changes.js';
export type { Durability } from './file/durability.js';
export { FileStorage, type FileStorageOptions } from './file/file-storage.js';
export { decodeName, encodeName, keyText, MAX_ID_LENGTH, type RecordKey } from './keys.js';
export { MemoryStorage, type MemoryStorageOptions } from './memory-storage.js';
export { BACKENDS, type BackendName, openStorage, type StorageOptions } from './open-storage.js';
export * from './state-storage.js';
export { ValkeyStorage, type ValkeyStorageOptions } from './valkey/valkey-storage.js';
