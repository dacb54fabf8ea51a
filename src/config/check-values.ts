import { cachesProblems } from './check-caches.js';
import { literalSecret, securityProblems } from './check-security.js';
import { skillEntryProblems } from './check-skill-entries.js';
import { stateProblems } from './check-state.js';
import { coerce } from './coerce.js';
import { FINDING_CODES, type Path, type Problem, pathKey } from './finding.js';
import {
  type AgentConfig,
  configSchema,
  type SkillConfig,
  type StateConfig,
  skillSchema,
  stateSchema,
} from './schema.js';
import { schemaProblems, valueAt } from './schema-problems.js';

export interface ValueCheck {
  readonly value: unknown;
  /** Paths (`pathKey`) of texts that come from the environment. */
  readonly interpolated?: ReadonlySet<string>;
  /** Paths (`pathKey`) where a problem has been reported already; nothing more is said about them. */
  readonly unknown?: ReadonlySet<string>;
  /** Sections are missing from the value because they could not be read: nothing is said about their absence. */
  readonly partial?: boolean;
  readonly directory?: string | undefined;
  readonly sourceAt?: (path: Path) => string | undefined;
}

const NONE: ReadonlySet<string> = new Set();

export interface CheckedValues {
  readonly problems: readonly Problem[];
  /** The whole, where it fits the schema. */
  readonly config: AgentConfig | undefined;
  /** Its skills by their index, also where other parts do not fit; nothing for an entry that does not. */
  readonly skills: readonly (SkillConfig | undefined)[];
  /** Its state, also where other parts do not fit. */
  readonly state: StateConfig | undefined;
}

/** Everything that is wrong with the values of a configuration, and the configuration where nothing is. */
export function checkValues({
  value: given,
  interpolated = NONE,
  unknown = NONE,
  partial = false,
  directory,
  sourceAt = () => undefined,
}: ValueCheck): CheckedValues {
  const value = coerce(given, configSchema, interpolated);
  // What is inside of, or beside, something unknown is not known either.
  const isUnknown = (path: Path): boolean =>
    path.some((_, index) => unknown.has(pathKey(path.slice(0, index + 1)))) || unknown.has('[]');
  const parsed = configSchema.safeParse(value);
  const problems = [
    ...(parsed.error ? schemaProblems(value, parsed.error.issues, sourceAt) : []),
    ...(partial && valueAt(value, ['state']) === undefined ? [] : stateProblems({ value, isUnknown, directory })),
    ...cachesProblems({ value, isUnknown, partial }),
    ...skillEntryProblems(value, partial ? (path) => path[0] === 'agent' || isUnknown(path) : isUnknown),
    ...securityProblems(value, interpolated),
    ...syncProblems(value, interpolated),
  ].filter(({ path }) => !isUnknown(path));
  return {
    problems: withoutEchoes(problems),
    config: parsed.data,
    skills: soundSkills(value, isUnknown),
    state: soundState(value, problems, unknown),
  };
}

/** That a secret stands where it should not is no news of a text that has to be written anew anyway. */
function withoutEchoes(problems: readonly Problem[]): Problem[] {
  const wrong = new Set(problems.filter(({ code }) => code !== 'SECRET_IN_FILE').map(({ path }) => pathKey(path)));
  return problems.filter(({ code, path }) => code !== 'SECRET_IN_FILE' || !wrong.has(pathKey(path)));
}

function soundSkills(value: unknown, isUnknown: (path: Path) => boolean): (SkillConfig | undefined)[] {
  const skills = valueAt(value, ['skills']);
  if (!Array.isArray(skills)) return [];
  return skills.map((skill: unknown, index) =>
    isUnknown(['skills', index, 'id']) || isUnknown(['skills', index, 'handler']) ? undefined : soundSkill(skill),
  );
}

/** What is wrong beside them is no reason not to look at the code that id and handler name. */
function soundSkill(skill: unknown): SkillConfig | undefined {
  const { id, handler } = (skill ?? {}) as { id?: unknown; handler?: unknown };
  return skillSchema.safeParse(skill).data ?? skillSchema.safeParse({ id, handler }).data;
}

function soundState(
  value: unknown,
  problems: readonly Problem[],
  unknown: ReadonlySet<string>,
): StateConfig | undefined {
  const unsound =
    problems.some(({ code, path }) => path[0] === 'state' && FINDING_CODES[code][0] === 'error') ||
    [...unknown].some((key) => key === '[]' || key.startsWith('["state"'));
  return unsound ? undefined : stateSchema.safeParse(valueAt(value, ['state']) ?? {}).data;
}

/** What the schema cannot say about `sync`: where its key belongs. */
function syncProblems(value: unknown, interpolated: ReadonlySet<string>): Problem[] {
  return literalSecret(value, ['sync', 'api_key'], interpolated);
}
