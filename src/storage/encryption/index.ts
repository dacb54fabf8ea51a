export { EncryptedStorage } from './encrypted-storage.js';
export type { EncryptionOptions } from './encryption-key.js';
export { TokenCipher } from './token-cipher.js';
