import { dirname, resolve } from 'node:path';
import type { Node, Pair } from 'yaml';
import { checkValues } from './check-values.js';
import { ConfigDocument } from './config-document.js';
import type { Finding, Problem } from './finding.js';
import type { Environment } from './interpolate.js';
import { readValues } from './read-values.js';
import type { AgentConfig, SkillConfig, StateConfig } from './schema.js';
import { yamlProblems } from './yaml-problems.js';

export interface ValidateOptions {
  /** The path the text is read from: relative paths in it start from its directory. */
  readonly file?: string | undefined;
  /** What `${NAME}` refers to. Default: `process.env`. */
  readonly env?: Environment | undefined;
}

export interface Validation {
  /** Everything that is wrong, in the order of the file. */
  readonly findings: readonly Finding[];
  /** The configuration with its defaults; absent where a finding is an error. */
  readonly config?: AgentConfig;
  /** The skills by their index, also where other parts of the file have errors; nothing for an entry that has. */
  readonly skills: readonly (SkillConfig | undefined)[];
  /** The state section, also where other parts of the file have errors. */
  readonly state?: StateConfig;
  readonly document: ConfigDocument;
}

/**
 * Checks the text of a configuration, everything that can be told without loading the code of a skill, and reports
 * all findings at once. Any text will do; nothing is thrown. Looks at the file system only for `state.storage_dir`.
 */
export function validateConfigText(text: string, { file, env = process.env }: ValidateOptions = {}): Validation {
  try {
    return validate(new ConfigDocument(text), file, env);
  } catch (error) {
    // Text that is nested beyond the stack; everything that walks it may end here.
    if (!(error instanceof RangeError)) throw error;
    return only({ code: 'YAML_SYNTAX', path: [], message: 'the text is nested too deeply', fix: 'make it flatter' });
  }
}

function validate(document: ConfigDocument, file: string | undefined, env: Environment): Validation {
  const lost = document.text.indexOf('\uFFFD');
  if (lost >= 0) return only(notUtf8(document.text, lost), document);
  const { problems: syntax, brokenFrom } = yamlProblems(document);
  if (syntax.length === 0 && isEmpty(document)) return only(EMPTY, document);
  const values = readValues(document, env, (pair) => brokenFrom === undefined || endOf(pair) < brokenFrom);
  const directory = file === undefined ? undefined : dirname(resolve(file));
  const { problems, config, skills, state } = checkValues({
    ...values,
    directory,
    partial: brokenFrom !== undefined,
    // A text that is broken at its root says nothing about its values.
    ...(brokenFrom !== undefined && !isPlainObject(values.value) && { value: {} }),
    sourceAt: (path) => document.sourceAt(path),
  });
  const findings = [...syntax, ...values.problems, ...problems]
    .map((problem) => document.finding(problem))
    .sort((a, b) => a.line - b.line || a.column - b.column);
  const valid = config !== undefined && findings.every(({ severity }) => severity !== 'error');
  return { findings, document, skills, ...(state && { state }), ...(valid && { config }) };
}

/** A validation that came no further than to one problem. */
export function only(problem: Problem, document = new ConfigDocument('')): Validation {
  return { findings: [document.finding(problem)], document, skills: [] };
}

const EMPTY: Problem = {
  code: 'EMPTY_FILE',
  path: [],
  message: 'the file holds no configuration',
  fix: 'run `npx agentup init`, or begin with `agent:` and `name:` under it',
};

/** What decoding leaves of a byte that is not UTF-8. Nobody writes it on purpose into a configuration. */
function notUtf8(text: string, offset: number): Problem {
  return {
    code: 'NOT_UTF8',
    path: [],
    range: [offset, offset + 1],
    message: text.includes('\0') ? 'the file is not UTF-8; it looks like UTF-16' : 'here is a byte that is not UTF-8',
    fix: 'save the file as UTF-8',
  };
}

function isEmpty({ root }: ConfigDocument): boolean {
  return root === null || ('value' in root && root.value === null);
}

/** Where the last character that belongs to an entry is. */
function endOf(pair: Pair): number {
  const key = pair.key as Node | null;
  const value = pair.value as Node | null;
  return value?.range?.[2] ?? key?.range?.[2] ?? 0;
}

function isPlainObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
