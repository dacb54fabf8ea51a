import { decode, encode, refuseSealed, type Token } from '../json.js';

/**
 * How a value lies in a record. An object is spread over its fields, each under its name with a dot before it, so
 * that one of them can be read, set, added to alone; anything else is one field.
 */
const VALUE = '=';
const DOT = '.';
/** Tells one state of an entry from every other, also from one that was deleted and made again. */
export const TAG = '#';

/** The record field of a row's field. */
export function fieldName(name: string): string {
  return DOT + name;
}

/** The record field of a value that is no object. */
export const WHOLE = VALUE;

/** Is this an object with fields, and not an array or a plain value? */
export function isRow(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The record fields of a value.
 * @throws VALUE_NOT_JSON with the path
 */
export function fieldsOf(value: unknown): Map<string, Token> {
  // Checked as a whole, so that the path in an error is that of the caller.
  const token = encode(value);
  if (!isRow(value)) return new Map([[VALUE, token]]);
  return new Map(Object.entries(value).map(([name, part]) => [fieldName(name), encode(part)]));
}

/** The value that record fields make up. */
export function contentOf(fields: ReadonlyMap<string, Token>): unknown {
  const whole = fields.get(VALUE);
  if (whole !== undefined) return decode(whole);
  let text = '';
  for (const [field, token] of fields) {
    if (!field.startsWith(DOT)) continue;
    refuseSealed(token);
    text += `${text === '' ? '' : ','}${JSON.stringify(field.slice(DOT.length))}:${token}`;
  }
  return decode(`{${text}}`);
}

/** How many bytes a value takes, in UTF-8. */
export function sizeOf(fields: ReadonlyMap<string, Token>): number {
  let size = 0;
  for (const [field, token] of fields) size += Buffer.byteLength(field) + Buffer.byteLength(token);
  return size;
}
