import type { ListQuery, StateRecord, StateStorage } from '../storage/state-storage.js';

/** Deletions under way at a time. */
const AT_ONCE = 100;

/** The ids of a scope, in an order, each once, none expired. */
export async function* idsOf(storage: StateStorage, query: ListQuery): AsyncGenerator<string> {
  for await (const { key } of storage.list(query)) yield key.id;
}

/** The records of a scope, without the round trip for each. */
export async function* recordsOf(
  storage: StateStorage,
  query: ListQuery,
): AsyncGenerator<{ readonly id: string; readonly record: StateRecord }> {
  for await (const { key, record } of storage.list({ ...query, contents: true }))
    if (record) yield { id: key.id, record };
}

/** Deletes what a query finds, and nothing else. @returns how many there were */
export async function deleteAll(storage: StateStorage, query: ListQuery): Promise<number> {
  let removed = 0;
  let batch: Promise<boolean>[] = [];
  const settle = async (): Promise<void> => {
    for (const done of await Promise.all(batch)) if (done) removed++;
    batch = [];
  };
  for await (const { key } of storage.list(query)) {
    batch.push(storage.delete(key));
    if (batch.length >= AT_ONCE) await settle();
  }
  await settle();
  return removed;
}
