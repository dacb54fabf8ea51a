import type { z } from 'zod';
import type { Path } from './finding.js';
import { notes, type SchemaNote } from './schema-notes.js';

type Schema = z.core.$ZodType;

/** A schema without what only says what happens when the value is missing. */
export function unwrap(schema: Schema): z.core.$ZodTypes {
  let inner = schema as z.core.$ZodTypes;
  while (
    inner._zod.def.type === 'optional' ||
    inner._zod.def.type === 'default' ||
    inner._zod.def.type === 'prefault'
  ) {
    inner = inner._zod.def.innerType as z.core.$ZodTypes;
  }
  return inner;
}

/** The note and the default of a schema, wherever in its wrappers they are. */
export function noteOf(schema: Schema): SchemaNote & { readonly default?: unknown; readonly required: boolean } {
  let found: SchemaNote = {};
  let fallback: unknown;
  let required = true;
  for (let layer = schema as z.core.$ZodTypes; ; ) {
    found = { ...notes.get(layer), ...found };
    const def = layer._zod.def;
    if (def.type !== 'optional' && def.type !== 'default' && def.type !== 'prefault') break;
    required = false;
    if (def.type === 'default') fallback = def.defaultValue;
    layer = def.innerType as z.core.$ZodTypes;
  }
  return { ...found, ...(fallback !== undefined && { default: fallback }), required };
}

/** The description of a schema, wherever in its wrappers it is. */
export function descriptionOf(schema: z.ZodType): string {
  for (let layer = schema; ; ) {
    if (layer.description !== undefined) return layer.description;
    const def = layer._zod.def as { innerType?: z.ZodType };
    if (!def.innerType) return '';
    layer = def.innerType;
  }
}

/** The keys a schema knows, with their schemas; none for what is no map. */
export function shapeOf(schema: Schema): Readonly<Record<string, Schema>> {
  const { def } = unwrap(schema)._zod;
  if (def.type === 'union') return Object.assign({}, ...def.options.map(shapeOf));
  return def.type === 'object' ? def.shape : {};
}

/** The schema of one step inside a schema, where it says anything about it. */
export function childOf(schema: Schema, step: string | number): Schema | undefined {
  const { def } = unwrap(schema)._zod;
  switch (def.type) {
    case 'object':
    case 'union': {
      const shape = shapeOf(schema);
      return Object.hasOwn(shape, step) ? shape[step] : undefined;
    }
    case 'array':
      return typeof step === 'number' ? def.element : undefined;
    case 'record':
      return def.valueType;
    default:
      return undefined;
  }
}

/** The schema at a path. */
export function schemaAt(root: Schema, path: Path): Schema | undefined {
  let schema: Schema | undefined = root;
  for (const step of path) schema = schema && childOf(schema, step);
  return schema;
}

/** What kinds of values a schema takes. */
export function kindsOf(schema: Schema): string[] {
  const inner = unwrap(schema);
  const { def } = inner._zod;
  switch (def.type) {
    case 'union':
      return def.options.flatMap(kindsOf);
    case 'literal':
      return def.values.map((value) => typeof value);
    case 'enum':
      return ['string'];
    case 'record':
      return ['object'];
    default:
      return [def.type];
  }
}

/** The texts a schema takes where it takes only some. */
export function choicesOf(schema: Schema): string[] {
  const { def } = unwrap(schema)._zod;
  if (def.type === 'enum') return Object.values(def.entries).map(String);
  if (def.type === 'union') return def.options.flatMap(choicesOf);
  return def.type === 'literal' ? def.values.map(String) : [];
}

/** Completes "must be …". */
export function expectsOf(schema: Schema): string {
  const { expects, unit } = noteOf(schema);
  if (expects !== undefined) return expects;
  const inner = unwrap(schema);
  const choices = choicesOf(inner);
  if (choices.length > 0) return `one of ${choices.join(', ')}`;
  switch (inner._zod.def.type) {
    case 'string':
      return 'a text';
    case 'number': {
      const { minValue, maxValue } = inner as z.ZodNumber;
      const from = (minValue ?? Number.NEGATIVE_INFINITY) > Number.MIN_SAFE_INTEGER ? ` from ${minValue}` : '';
      const to = (maxValue ?? Number.POSITIVE_INFINITY) < Number.MAX_SAFE_INTEGER ? ` to ${maxValue}` : from && ' on';
      return `a whole number${unit ? ` of ${unit}` : ''}${from}${to}`;
    }
    case 'array':
      return 'a list';
    case 'boolean':
      return 'true or false';
    default:
      return 'a map of keys and values';
  }
}
