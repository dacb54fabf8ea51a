import { messageOf } from '../errors.js';
import { type Interview, usage } from './interview.js';

/** The flags that say which messages a skill answers. */
export interface RoutingFlags {
  readonly keyword?: readonly string[] | undefined;
  readonly pattern?: readonly string[] | undefined;
  readonly priority?: string | undefined;
  readonly default?: boolean | undefined;
}

/** Which messages a skill answers, in the words of `agent_config.yaml`. */
export interface RoutingAnswers {
  readonly keywords: readonly string[];
  readonly patterns: readonly string[];
  readonly priority: number | undefined;
}

/** Collects which messages a skill answers. @throws USAGE, CANCELLED */
export async function askRouting(interview: Interview, flags: RoutingFlags): Promise<RoutingAnswers> {
  const keywords =
    flags.keyword ??
    split(
      await interview.text({
        flag: '--keyword',
        message: 'Words that send a message to it, with commas between (none: leave empty)',
        initial: '',
      }),
    );
  const patterns =
    flags.pattern ??
    [
      await interview.text({
        flag: '--pattern',
        message: 'Regular expressions that do (none: leave empty)',
        initial: '',
        check: (text) => (text === '' ? undefined : patternProblem(text)),
      }),
    ].filter((text) => text !== '');
  for (const keyword of keywords) if (keyword.trim() === '') throw usage('--keyword: must not be empty', '--keyword');
  for (const pattern of patterns) {
    const problem = patternProblem(pattern);
    if (problem !== undefined) throw usage(`--pattern: ${problem}`, '--pattern');
  }
  return { keywords: keywords.map((keyword) => keyword.trim()), patterns, priority: priorityOf(flags.priority) };
}

function split(text: string): string[] {
  return text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '');
}

function patternProblem(source: string): string | undefined {
  if (source === '') return 'must not be empty';
  try {
    new RegExp(source, 'iu');
    return undefined;
  } catch (error) {
    return `${JSON.stringify(source)} is no regular expression: ${messageOf(error)}`;
  }
}

function priorityOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const priority = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(priority))
    throw usage(`--priority: ${JSON.stringify(text)} is not a whole number`, '--priority');
  return priority === 0 ? undefined : priority;
}
