import { messageOf } from '../errors.js';
import type { Path, Problem } from './finding.js';
import { quote, valueAt } from './schema-problems.js';
import { closest } from './suggest.js';

/** What the schema cannot say about `skills`: ids that meet, patterns that do not compile, a default that is none. */
export function skillEntryProblems(value: unknown, isUnknown: (path: Path) => boolean): Problem[] {
  const skills = valueAt(value, ['skills']);
  const entries = Array.isArray(skills) ? (skills as unknown[]) : [];
  const problems: Problem[] = [];
  const ids = new Map<string, number>();
  for (const [index, entry] of entries.entries()) {
    problems.push(...patternProblems(entry, index, isUnknown));
    const id = valueAt(entry, ['id']);
    const path = ['skills', index, 'id'];
    if (typeof id !== 'string' || isUnknown(path)) continue;
    const first = ids.get(id);
    if (first === undefined) {
      ids.set(id, index);
    } else {
      problems.push({
        code: 'SKILL_ID_DUPLICATE',
        path,
        message: `skills[${index}] has the id ${quote(id)}, which skills[${first}] has already`,
        fix: `write another id, for example \`${free(id, ids)}\``,
      });
    }
  }
  if (skills === undefined || Array.isArray(skills)) {
    const certain = !isUnknown(['skills']) && entries.every((_, index) => !isUnknown(['skills', index, 'id']));
    problems.push(...defaultSkillProblems(value, [...ids.keys()], certain, isUnknown));
  }
  return problems;
}

function patternProblems(entry: unknown, index: number, isUnknown: (path: Path) => boolean): Problem[] {
  const patterns = valueAt(entry, ['patterns']);
  if (!Array.isArray(patterns)) return [];
  return patterns.flatMap((pattern: unknown, at): Problem[] => {
    const path = ['skills', index, 'patterns', at];
    if (typeof pattern !== 'string' || isUnknown(path)) return [];
    try {
      // The flags the agent uses.
      new RegExp(pattern, 'iu');
      return [];
    } catch (error) {
      const reason = messageOf(error)
        .replace(/^Invalid regular expression: /, '')
        .replace(/^.*\/[a-z]*: /s, '');
      return [
        {
          code: 'PATTERN_INVALID',
          path,
          message: `${quote(pattern)} is not a regular expression: ${reason}`,
          fix: 'correct it; for a plain word use `keywords`, and a `\\` before a character that is meant as such',
        },
      ];
    }
  });
}

function defaultSkillProblems(
  value: unknown,
  ids: readonly string[],
  certain: boolean,
  isUnknown: (path: Path) => boolean,
): Problem[] {
  const path = ['agent', 'default_skill'];
  const wanted = valueAt(value, path);
  if (!certain || typeof wanted !== 'string' || wanted === '' || isUnknown(path) || ids.includes(wanted)) return [];
  const near = closest(wanted, ids);
  return [
    {
      code: 'DEFAULT_SKILL_UNKNOWN',
      path,
      message: `agent.default_skill is ${quote(wanted)}, and no skill has this id`,
      fix:
        near !== undefined
          ? `did you mean \`${near}\`?`
          : ids.length > 0
            ? `the ids are ${ids.join(', ')}`
            : 'add the skill to `skills`, or remove the line',
    },
  ];
}

/** The id with the first number that makes it new. */
function free(id: string, taken: ReadonlyMap<string, number>): string {
  let number = 2;
  while (taken.has(`${id}_${number}`)) number++;
  return `${id}_${number}`;
}
