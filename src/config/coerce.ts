import type { z } from 'zod';
import { type Path, pathKey } from './finding.js';
import { childOf, choicesOf, kindsOf } from './inspect-schema.js';

const NUMBER = /^[+-]?\d+(?:\.\d+)?$/;

/**
 * Fits values to a schema where the file could not say it better:
 *
 * * A text that comes from the environment becomes a number, or true or false, where one belongs: `ttl: "${TTL:3600}"`. The
 *   environment holds nothing but text. A text that was typed, `ttl: "3600"`, stays one and is an error: YAML has a way
 *   to write a number, its quotes say "not a number", editors that know the JSON Schema refuse it too, and a file that
 *   is right in one reader and wrong in another is worse than a clear message.
 * * A section or list without a value (everything in it is commented out) counts as left out. A plain key without a
 *   value does not: `url:` is more likely forgotten than meant.
 */
export function coerce(
  value: unknown,
  schema: z.core.$ZodType | undefined,
  interpolated: ReadonlySet<string>,
  path: Path = [],
): unknown {
  if (schema === undefined) return value;
  if (typeof value === 'string') {
    const kinds = kindsOf(schema);
    if (!interpolated.has(pathKey(path)) || !(kinds.includes('number') || kinds.includes('boolean'))) return value;
    const trimmed = value.trim();
    if (kinds.includes('boolean')) return trimmed === 'true' || (trimmed === 'false' ? false : value);
    if (choicesOf(schema).includes(trimmed)) return trimmed;
    return NUMBER.test(trimmed) ? Number(trimmed) : value;
  }
  if (Array.isArray(value)) {
    return value.map((item, index) => coerce(item, childOf(schema, index), interpolated, [...path, index]));
  }
  if (typeof value !== 'object' || value === null) return value;
  const out: Record<string, unknown> = {};
  for (const [name, item] of Object.entries(value)) {
    const child = childOf(schema, name);
    if (item === null && child && kindsOf(child).every((kind) => kind === 'object' || kind === 'array')) continue;
    const coerced = coerce(item, child, interpolated, [...path, name]);
    Object.defineProperty(out, name, { value: coerced, enumerable: true, writable: true, configurable: true });
  }
  return out;
}
