import type { z } from 'zod';
import { redactUrl } from '../redact.js';
import { suggestSkillId } from '../skill-id.js';
import { type Path, type Problem, pathText } from './finding.js';
import { childOf, choicesOf, expectsOf, kindsOf, noteOf, schemaAt, shapeOf } from './inspect-schema.js';
import { configSchema } from './schema.js';
import { closest, didYouMean } from './suggest.js';

const UNIT_SECONDS: Readonly<Record<string, number>> = {
  ms: 0.001,
  s: 1,
  sec: 1,
  m: 60,
  min: 60,
  h: 3600,
  d: 86_400,
  w: 604_800,
};

/** What the option is called elsewhere: in `@stateful()`, on the command line, by other stores of sessions. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  'state.storage': 'backend',
  'state.type': 'backend',
  'state.path': 'storage_dir',
  'state.folder': 'storage_dir',
  'state.maxAge': 'ttl',
  'state.expires': 'ttl',
};

/** What a value is called elsewhere. */
const OTHER_VALUES: Readonly<Record<string, string>> = {
  redis: 'use `valkey`, which speaks with Redis 7 too',
  disk: 'use `file`',
  ram: 'use `memory`',
};

/** What elsewhere has keys of its own and is a part of `state.url` here. */
const URL_PARTS: readonly string[] = ['host', 'port', 'user', 'username', 'password', 'db', 'database'];
const URL_FIX = 'write it in `url`: valkey://user:password@host:6379/0, each part but the host only where it is needed';

/** What the schema finds in a value, in words. `sourceAt` is how a value is written, where that is known. */
export function schemaProblems(
  value: unknown,
  issues: readonly z.core.$ZodIssue[],
  sourceAt: (path: Path) => string | undefined,
): Problem[] {
  return issues.flatMap((issue) => {
    const path = issue.path as Path;
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(value, path, key));
    return [misfit(value, path, sourceAt(path))];
  });
}

function unknownKey(value: unknown, path: Path, key: string): Problem {
  const schema = schemaAt(configSchema, path);
  const known = Object.keys(schema ? shapeOf(schema) : {});
  const given = valueAt(value, path) as object;
  const free = known.filter((name) => !Object.hasOwn(given, name));
  const part = pathText(path) === 'state' && URL_PARTS.includes(key);
  const near = part
    ? undefined
    : (free.find((name) => name === OTHER_NAMES[pathText([...path, key])]) ?? closest(key, free));
  const home = near === undefined ? homeOf(key, path) : undefined;
  const where = path.length === 0 ? 'the top level' : pathText(path);
  return {
    code: 'UNKNOWN_KEY',
    path: [...path, key],
    onKey: true,
    message: `${where} has no key ${quote(key)}`,
    fix: part
      ? URL_FIX
      : near !== undefined
        ? `did you mean \`${near}\`?`
        : home !== undefined
          ? `\`${key}\` belongs under \`${home}\``
          : `its keys are ${known.join(', ')}`,
  };
}

/** The section that does have a key of this name. */
function homeOf(key: string, path: Path): string | undefined {
  return ['agent', 'state'].find(
    (section) => section !== path[0] && Object.hasOwn(shapeOf(configSchema.shape[section as 'agent']), key),
  );
}

function misfit(root: unknown, path: Path, source: string | undefined): Problem {
  const value = valueAt(root, path);
  const schema = schemaAt(configSchema, path) ?? configSchema;
  const { code, secret } = noteOf(schema);
  const where = pathText(path) || 'the file';
  if (value === undefined) {
    const parent = path.slice(0, -1);
    return {
      code: 'MISSING_KEY',
      path,
      at: parent,
      message: `${pathText(parent) || 'the file'} has no \`${path.at(-1)}\``,
      fix: `add \`${path.at(-1)}\`: ${expectsOf(schema)}`,
    };
  }
  const fits = kindsOf(schema).includes(kindOf(value));
  return {
    code: code ?? (fits ? 'INVALID_VALUE' : 'WRONG_TYPE'),
    path,
    onKey: value === null,
    message:
      value === null
        ? `${where} has no value; it must be ${expectsOf(schema)}`
        : value === '' && code === undefined && choicesOf(schema).length === 0
          ? `${where} must not be empty`
          : `${where} must be ${expectsOf(schema)}, not ${secret ? 'what it is' : describe(value)}`,
    fix: fixFor(schema, path, value, source),
  };
}

function fixFor(schema: z.core.$ZodType, path: Path, value: unknown, source: string | undefined): string {
  const kinds = kindsOf(schema);
  const choices = choicesOf(schema);
  const { unit, secret } = noteOf(schema);
  if (path.length === 0) return 'begin with `agent:`, and `name:` indented under it';
  if (value === null) return 'give it a value, or remove the line';
  if (value === '' && choices.length === 0) return 'give it a value that is not empty';
  if (path[0] === 'skills' && path.at(-1) === 'id' && typeof value === 'string') {
    const id = suggestSkillId(value);
    return id === undefined ? 'give it an id such as `my_skill`' : `write \`${id}\``;
  }
  if (typeof value === 'string') {
    if (kinds.includes('number') && /^\s*[+-]?\d+\s*$/.test(value)) return `remove the quotes: ${Number(value)}`;
    const duration = unit && /^\s*(\d+)\s*([a-z]+)\s*$/i.exec(value);
    const factor = duration ? UNIT_SECONDS[duration[2]?.toLowerCase() ?? ''] : undefined;
    if (duration && factor !== undefined) {
      return `write it in ${unit}: ${Math.round(Number(duration[1]) * factor * (unit === 'milliseconds' ? 1000 : 1))}`;
    }
    if (kinds.includes('array')) return listFix(schema);
    if (pathText(path) === 'state.backend' && Object.hasOwn(OTHER_VALUES, value)) return OTHER_VALUES[value] as string;
    const meant = didYouMean(value, choices);
    if (meant !== undefined) return meant;
  }
  if (choices.includes('none') && kinds.includes('number')) return 'write `none` to keep conversations for ever';
  if (kinds.includes('object')) return mapFix(schema, path, value);
  if (choices.length > 0) return `use one of ${choices.join(', ')}`;
  if (kinds.includes('array')) return listFix(schema);
  if (secret) return `write ${expectsOf(schema)}`;
  if (kinds.includes('string') && typeof value !== 'object') return `put it in quotes: "${source ?? String(value)}"`;
  return `write ${expectsOf(schema)}`;
}

function listFix(schema: z.core.$ZodType): string {
  const element = childOf(schema, 0);
  const [first] = element ? Object.keys(shapeOf(element)) : [];
  return first === undefined
    ? 'write a list: [one, two]'
    : `write a list of maps, each one beginning with \`- ${first}:\``;
}

/** `state: file` means its backend, `agent: Ada` its name. */
function mapFix(schema: z.core.$ZodType, path: Path, value: unknown): string {
  const shape = shapeOf(schema);
  const keys = Object.keys(shape);
  if (keys.length === 0) return `write ${expectsOf(schema)}`;
  if (path[0] === 'skills' && path.length === 2) {
    return 'write a map: { id: my_skill, handler: ./src/skills/my_skill.ts }';
  }
  if (typeof value === 'string' && typeof path.at(-1) === 'string') {
    for (const [key, inner] of Object.entries(shape)) {
      const meant = closest(value, choicesOf(inner));
      if (meant !== undefined) return `write \`${path.at(-1)}: { ${key}: ${meant} }\``;
    }
    if (keys.includes('name')) return `write \`${path.at(-1)}: { name: ${quote(value)} }\``;
  }
  return `write a map; its keys are ${keys.join(', ')}`;
}

/** A value in a sentence; never a secret. */
export function describe(value: unknown): string {
  switch (typeof value) {
    case 'string':
      if (value === '') return 'an empty text';
      return `the text ${quote(value)}`;
    case 'object':
      return value === null ? 'nothing' : Array.isArray(value) ? 'a list' : 'a map';
    case 'number':
    case 'boolean':
      return String(value);
    default:
      return `a ${typeof value}`;
  }
}

/** A text in quotes: on one line, no longer than a sentence takes, and without a password. */
export function quote(text: string): string {
  // Redacted before it is cut, or half a password would not look like one.
  const shown = redactUrl(text);
  return JSON.stringify(shown.length > 60 ? `${shown.slice(0, 60)}…` : shown);
}

function kindOf(value: unknown): string {
  return Array.isArray(value) ? 'array' : typeof value;
}

export function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}
