import { isAgentUpError } from '../errors.js';
import { keyText, type RecordKey } from '../storage/keys.js';
import type { StateRecord, StateStorage } from '../storage/state-storage.js';

/** Told of a record that cannot be read. */
export type Unreadable = (error: unknown) => void;

/**
 * The records of a space, without their logs. One that cannot be read, as its key is gone or its file is damaged, keeps
 * nobody from the others: from the first on they are read one by one.
 * @throws what says that the storage as a whole is not there
 */
export async function* readableRecords(
  storage: StateStorage,
  space: string,
  unreadable: Unreadable,
): AsyncGenerator<{ readonly key: RecordKey; readonly record: StateRecord }, void, undefined> {
  const done = new Set<string>();
  try {
    for await (const { key, record } of storage.list({ space, contents: true })) {
      done.add(keyText(key));
      if (record) yield { key, record };
    }
    return;
  } catch (error) {
    throwIfDown(error);
  }
  for await (const { key } of storage.list({ space })) {
    if (done.has(keyText(key))) continue;
    const record = await storage.read(key).catch((error: unknown) => {
      throwIfDown(error);
      unreadable(error);
      return undefined;
    });
    if (record) yield { key, record };
  }
}

/** Passes on what is no matter of one record. */
export function throwIfDown(error: unknown): void {
  if (isAgentUpError(error, 'STORAGE_UNAVAILABLE') || isAgentUpError(error, 'STORAGE_CLOSED')) throw error;
}
