import { createHash, timingSafeEqual } from 'node:crypto';

/** A key as a configuration names it: itself, or its SHA-256 in hexadecimal. */
export interface ConfiguredKey {
  readonly key?: string | undefined;
  readonly key_sha256?: string | undefined;
}

/**
 * Finds what a key stands for. Compares with every key there is, always all of them and their digests, so that the
 * time taken tells nothing.
 * @param standsFor says that; `id` tells keys apart without showing them
 */
export function keyRing<Key extends ConfiguredKey, Value>(
  keys: readonly Key[],
  standsFor: (key: Key, id: string) => Value,
): (given: string) => Value | undefined {
  const known = keys.map((key) => {
    const digest = key.key_sha256 === undefined ? sha256(key.key ?? '') : Buffer.from(key.key_sha256, 'hex');
    return { digest, value: standsFor(key, digest.toString('hex').slice(0, 12)) };
  });
  return (given) => {
    const digest = sha256(given);
    let found: Value | undefined;
    for (const { digest: candidate, value } of known) if (timingSafeEqual(candidate, digest)) found = value;
    return given === '' ? undefined : found;
  };
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
