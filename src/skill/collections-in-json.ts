/**
 * For `JSON.stringify`, which makes an empty object of a Map or a Set: a Map with text keys becomes an object, any
 * other a list of its entries, a Set a list.
 */
export function collectionsInJson(_name: string, value: unknown): unknown {
  if (value instanceof Set) return [...value];
  if (!(value instanceof Map)) return value;
  const entries = [...value];
  return entries.every(([key]) => typeof key === 'string') ? Object.fromEntries(entries) : entries;
}
