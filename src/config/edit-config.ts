import { isDeepStrictEqual } from 'node:util';
import { AgentUpError } from '../errors.js';
import { noteOf, shapeOf } from './inspect-schema.js';
import { escapeInterpolation } from './interpolate.js';
import { BACKEND_OPTIONS, type SkillConfigInput, type StateConfigInput, skillSchema, stateSchema } from './schema.js';
import { quote } from './schema-problems.js';
import { TextEdit } from './text-edit.js';
import type { YamlValue } from './yaml-text.js';

/**
 * The text with a skill added to the end of `skills`; the same text where this very entry is there. The texts of the
 * entry mean themselves: a `${` in them is no reference to the environment. Everything else in the file stays.
 * @throws FILE_CONFLICT where another entry has this id, or the list cannot be added to; CONFIG_INVALID where the text
 * is not YAML; INVALID_ARGUMENT where the entry is none
 */
export function addSkill(text: string, entry: SkillConfigInput): string {
  const checked = skillSchema.safeParse(entry);
  if (checked.error) {
    const issue = checked.error.issues[0];
    throw new AgentUpError(
      'INVALID_ARGUMENT',
      `the skill's ${issue?.path.join('.') || 'entry'} does not fit: ${issue?.message}`,
      {
        argument: 'entry',
        issues: checked.error.issues,
      },
    );
  }
  const edit = new TextEdit(text);
  const written = escaped(entry as YamlValue) as SkillConfigInput;
  const skills = edit.values['skills'];
  for (const present of Array.isArray(skills) ? (skills as Partial<SkillConfigInput>[]) : []) {
    if (present?.id !== entry.id) continue;
    if (isDeepStrictEqual(bare(present), bare(written))) return text;
    throw new AgentUpError('FILE_CONFLICT', `there is a skill ${quote(entry.id)} already, with other settings`, {
      skillId: entry.id,
      path: 'skills',
      fix: 'give the new skill another id, or change the entry by hand',
    });
  }
  edit.append(['skills'], ordered(written));
  return edit.text;
}

/**
 * The text with its `state` section changed: what is given is set, what belongs to another backend is taken out, the
 * rest of the section stays. The same text where it says all that already, if only by its defaults. Texts may refer
 * to the environment; to keep what is written there, pass what `stateAsWritten` gives and not the loaded values.
 * @throws FILE_CONFLICT where the section cannot be changed; CONFIG_INVALID where the text is not YAML
 */
export function setState(text: string, state: StateConfigInput): string {
  const edit = new TextEdit(text);
  for (const [option, value] of Object.entries(state)) {
    if (value !== undefined && !isDeepStrictEqual(stateOf(edit)[option] ?? STATE_DEFAULTS[option], value)) {
      setOption(edit, ['state', option], value as YamlValue);
    }
  }
  if (state.backend !== undefined) {
    for (const [owner, options] of Object.entries(BACKEND_OPTIONS)) {
      if (owner === state.backend) continue;
      for (const option of options) if (Object.hasOwn(stateOf(edit), option)) edit.remove(['state', option]);
    }
  }
  return edit.text;
}

/** The ids of the skills, as they are written. @throws CONFIG_INVALID where the text is not YAML */
export function skillIdsAsWritten(text: string): unknown[] {
  const { skills } = new TextEdit(text).values;
  return Array.isArray(skills) ? (skills as Partial<SkillConfigInput>[]).map((skill) => skill?.id) : [];
}

/** The `state` section as it is written: without defaults, `${NAME}` not replaced. */
export function stateAsWritten(text: string): StateConfigInput {
  return stateOf(new TextEdit(text)) as StateConfigInput;
}

/**
 * The text with `agent.default_skill` set; the same text where it is.
 * @throws FILE_CONFLICT, CONFIG_INVALID
 */
export function setDefaultSkill(text: string, id: string): string {
  const edit = new TextEdit(text);
  const agent = edit.values['agent'] as Record<string, unknown> | null | undefined;
  if (agent?.['default_skill'] !== escapeInterpolation(id))
    edit.set(['agent', 'default_skill'], escapeInterpolation(id));
  return edit.text;
}

/** A map inside of another is changed entry by entry, so that its comments stay. */
function setOption(edit: TextEdit, path: readonly string[], value: YamlValue): void {
  const present = path.reduce<unknown>(
    (inner, step) => (inner as Record<string, unknown> | undefined)?.[step],
    edit.values,
  );
  if (typeof value === 'object' && !Array.isArray(value) && typeof present === 'object' && present !== null) {
    for (const [key, item] of Object.entries(value)) {
      if (item !== undefined && !isDeepStrictEqual((present as Record<string, unknown>)[key], item))
        setOption(edit, [...path, key], item);
    }
  } else {
    edit.set(path, value);
  }
}

function stateOf(edit: TextEdit): Record<string, unknown> {
  const { state } = edit.values;
  if (state === undefined || state === null) return {};
  if (typeof state !== 'object' || Array.isArray(state)) {
    throw new AgentUpError('FILE_CONFLICT', 'state is not a map of keys and values', {
      path: 'state',
      fix: 'correct it by hand',
    });
  }
  return state as Record<string, unknown>;
}

/** What holds where nothing is written. */
const STATE_DEFAULTS: Readonly<Record<string, unknown>> = { ...stateSchema.parse({}), ttl: 'none' };

/** In the order of the schema, whatever order the caller has. */
function ordered(entry: SkillConfigInput): { readonly [key: string]: YamlValue | undefined } {
  const given = entry as Record<string, YamlValue | undefined>;
  return Object.fromEntries(Object.keys(shapeOf(skillSchema)).map((key) => [key, given[key]]));
}

/** Without what says no more than the default. */
function bare(entry: Partial<SkillConfigInput>): Record<string, unknown> {
  const shape = shapeOf(skillSchema);
  return Object.fromEntries(
    Object.entries(entry).filter(([key, value]) => {
      const schema = shape[key];
      return value !== undefined && value !== null && !(schema && isDeepStrictEqual(noteOf(schema).default, value));
    }),
  );
}

function escaped(value: YamlValue): YamlValue {
  if (typeof value === 'string') return escapeInterpolation(value);
  if (Array.isArray(value)) return value.map(escaped);
  if (typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, item]) => (item === undefined ? [] : [[key, escaped(item)]])),
  );
}
