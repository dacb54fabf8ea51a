import { z } from 'zod';
import { configSchema } from './schema.js';

type Json = Record<string, unknown>;

/** What stands for any value, since the environment decides what it is. */
const REFERENCE = { type: 'string', pattern: '\\$\\{' };

/**
 * The JSON Schema (draft 7) of `agent_config.yaml`, for editors: completion, descriptions, checks while typing.
 * Everywhere a value other than a map or list belongs, it also takes a text with `${NAME}`.
 */
export function configJsonSchema(): Json {
  const schema = z.toJSONSchema(configSchema, {
    target: 'draft-7',
    io: 'input',
    override: ({ zodSchema, jsonSchema, path }) => {
      const { type } = zodSchema._zod.def;
      // Every whole number has these bounds; as rules of the file they would only puzzle.
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (type === 'object' || type === 'array' || type === 'record') {
        if (path.length > 0 && path.at(-1) !== 'items' && path.at(-2) !== 'anyOf') acceptNull(jsonSchema as Json);
      } else if (type === 'number' || type === 'boolean' || type === 'enum' || jsonSchema.pattern !== undefined) {
        acceptReference(jsonSchema as Json);
      }
    },
  }) as Json;
  const { $schema, ...rest } = schema;
  return { $schema, title: 'agent_config.yaml', ...rest };
}

/** A section in which everything is commented out has no value, and counts as left out. */
function acceptNull(json: Json): void {
  if (typeof json['type'] === 'string') json['type'] = [json['type'], 'null'];
}

function acceptReference(json: Json): void {
  const { description, default: fallback, ...own } = json;
  for (const key of Object.keys(own)) delete json[key];
  Object.assign(json, { anyOf: [own, REFERENCE] });
}
