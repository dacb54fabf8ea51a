import type { RecordKey } from '../storage/keys.js';
import type { ListQuery, StateStorage } from '../storage/state-storage.js';

/** Entries worked on at a time. */
const AT_ONCE = 100;

/** The ids of a scope, in an order, each once, none expired. */
export async function* idsOf(storage: StateStorage, query: ListQuery): AsyncGenerator<string> {
  for await (const { key } of storage.list(query)) yield key.id;
}

/** Deletes what a query finds, and nothing else. @returns how many there were */
export async function deleteAll(storage: StateStorage, query: ListQuery): Promise<number> {
  let removed = 0;
  await forEach(storage, query, async (key) => {
    if (await storage.delete(key)) removed++;
  });
  return removed;
}

/** Does something with each record that a query finds, many at a time. */
export async function forEach(
  storage: StateStorage,
  query: ListQuery,
  work: (key: RecordKey) => Promise<unknown>,
): Promise<void> {
  let batch: RecordKey[] = [];
  // Begun together and waited for at once: what fails while the list is waited for would end the process.
  const settle = (): Promise<unknown> => Promise.all(batch.map(work));
  for await (const { key } of storage.list(query)) {
    if (batch.push(key) < AT_ONCE) continue;
    await settle();
    batch = [];
  }
  await settle();
}
