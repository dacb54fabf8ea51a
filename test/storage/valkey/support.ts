import { randomBytes } from 'node:crypto';

export { startValkey, type ValkeyServer, valkeyUrl } from '../../support/index.js';

/** A key prefix that no other test uses. */
export function freshPrefix(): string {
  return `test:${randomBytes(6).toString('hex')}:`;
}

export async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of source) all.push(item);
  return all;
}

/** The code a promise fails with, or `undefined` when it does not. */
export async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return promise.then(
    () => undefined,
    (error: { code?: string }) => error.code ?? String(error),
  );
}
