import { skillEntryProblems } from './check-skill-entries.js';
import { stateProblems } from './check-state.js';
import { coerce } from './coerce.js';
import { type Path, type Problem, pathKey } from './finding.js';
import { type AgentConfig, configSchema, type SkillConfig, type StateConfig, skillSchema, stateSchema } from './schema.js';
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
/** Sections for versions to come. */
const LATER = ['security', 'sync'];

/** Everything that is wrong with the values of a configuration, and the configuration where nothing is. */
export function checkValues({
  value: given,
  interpolated = NONE,
  unknown = NONE,
  partial = false,
  directory,
  sourceAt = () => undefined,
}: ValueCheck): { readonly problems: readonly Problem[]; readonly config: AgentConfig | undefined } {
  const value = coerce(given, configSchema, interpolated);
  // What is inside of, or beside, something unknown is not known either.
  const isUnknown = (path: Path): boolean =>
    path.some((_, index) => unknown.has(pathKey(path.slice(0, index + 1)))) || unknown.has('[]');
  const parsed = configSchema.safeParse(value);
  const problems = [
    ...(parsed.error ? schemaProblems(value, parsed.error.issues, sourceAt) : []),
    ...(partial && valueAt(value, ['state']) === undefined ? [] : stateProblems({ value, isUnknown, directory })),
    ...skillEntryProblems(value, partial ? (path) => path[0] === 'agent' || isUnknown(path) : isUnknown),
    ...laterSections(value),
  ].filter(({ path }) => !isUnknown(path));
  return { problems, config: parsed.data };
}

function laterSections(value: unknown): Problem[] {
  return LATER.filter((section) => valueAt(value, [section]) !== undefined).map((section) => ({
    code: 'SECTION_UNUSED' as const,
    path: [section],
    onKey: true,
    message: `this version does not act on ${section}`,
    fix: 'keep it for a later version, or remove it',
  }));
}
