import { inspect } from 'node:util';
import { collectionsInJson } from '../skill/collections-in-json.js';

/**
 * A reply as it goes over the wire: what JSON holds as it comes out at the other end, dates as texts, a Map as an
 * object; `null` for nothing; anything else (a BigInt, a cycle, a symbol) as the text that Node shows of it.
 */
export function inJson(value: unknown): unknown {
  if (value === undefined || value === null) return null;
  try {
    const text = JSON.stringify(value, collectionsInJson);
    if (text !== undefined) return JSON.parse(text);
  } catch {}
  return typeof value === 'bigint' ? String(value) : inspect(value);
}
