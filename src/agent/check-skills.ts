import { statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import type { AgentConfig, ConfigDocument, Finding, Problem, SkillConfig, StateConfig } from '../config/index.js';
import { closest } from '../config/suggest.js';
import { AgentUpError, messageOf } from '../errors.js';
import { redactText } from '../redact.js';
import { checkStateOptions } from './check-state-options.js';
import { importModule } from './import-module.js';
import { loadFix } from './load-fix.js';
import { type LoadedSkill, loadSkill } from './load-skill.js';
import { NearFiles } from './near-files.js';
import { placeOf } from './place-of.js';

/** What of a configuration its skills are checked with: a loaded one, or what a validation found to be sound. */
export interface SkillsToCheck {
  readonly directory: string;
  readonly file?: string;
  readonly document: ConfigDocument;
  readonly config?: AgentConfig;
  /** By their index in the file. Default: those of `config`. */
  readonly skills?: readonly (SkillConfig | undefined)[];
  /** Default: that of `config`. */
  readonly state?: StateConfig;
}

/**
 * Loads the code of every skill and reports what is wrong with it: a file or export that is missing, a file that
 * fails to load, no decorated method, an id or options that contradict the configuration. Everything at once.
 */
export async function checkSkills({ directory, document, config, skills, state }: SkillsToCheck): Promise<Finding[]> {
  const problems: Problem[] = [];
  const met: Met = { tools: new Map(), near: new NearFiles() };
  for (const [index, skill] of (skills ?? config?.skills ?? []).entries()) {
    if (skill) problems.push(...(await checkSkill(skill, index, directory, state ?? config?.state, met)));
  }
  return problems.map((problem) => document.finding(problem));
}

/** What the skills before have left for those that follow. */
interface Met {
  /** The skill of each tool. */
  readonly tools: Map<string, string>;
  readonly near: NearFiles;
}

async function checkSkill(
  skill: SkillConfig,
  index: number,
  directory: string,
  state: StateConfig | undefined,
  { tools, near }: Met,
): Promise<Problem[]> {
  const path = ['skills', index, 'handler'];
  const loaded = await load(skill, directory, near);
  if ('code' in loaded) return [{ path, ...loaded, message: redactText(loaded.message) }];
  return [
    ...idProblems(loaded, index),
    ...toolProblems(loaded, path, tools),
    ...checkStateOptions(loaded, path, state, directory),
  ];
}

type Failure = Omit<Problem, 'path'>;

async function load(skill: SkillConfig, directory: string, nearFiles: NearFiles): Promise<LoadedSkill | Failure> {
  const [written = '', exportName] = skill.handler.split('#');
  const file = resolve(directory, written);
  if (!isFile(file)) return missingFile(skill, written, file, nearFiles);
  let names: string[];
  try {
    names = Object.keys(await importModule(file));
  } catch (error) {
    return failed(skill, directory, `${written} cannot be loaded`, error);
  }
  if (exportName !== undefined && !names.includes(exportName)) {
    const near = closest(exportName, names);
    return {
      code: 'EXPORT_NOT_FOUND',
      message: `the skill ${skill.id}: ${written} has no export ${JSON.stringify(exportName)}`,
      fix: near ? `did you mean \`${written}#${near}\`?` : `it exports ${names.join(', ') || 'nothing'}`,
    };
  }
  try {
    return await loadSkill(skill, directory);
  } catch (error) {
    if (!(error instanceof AgentUpError) || error.cause !== undefined) return failed(skill, directory, '', error);
    return { code: 'HANDLER_NOT_DECORATED', message: error.message, fix: error.details.fix };
  }
}

function missingFile(skill: SkillConfig, written: string, file: string, nearFiles: NearFiles): Failure {
  const code = 'HANDLER_NOT_FOUND';
  if (statSync(file, { throwIfNoEntry: false })?.isDirectory()) {
    return { code, message: `the skill ${skill.id}: ${written} is a directory`, fix: 'name a file in it' };
  }
  const message = `the skill ${skill.id}: there is no file ${written}`;
  const slashed = written.replaceAll('\\', '/');
  if (slashed !== written) return { code, message, fix: `write \`${slashed}\`, which every system reads` };
  const near = nearFiles.of(file);
  const fix = near ? `did you mean \`${join(dirname(written), near)}\`?` : 'correct the path, or create the file';
  return { code, message, fix };
}

/** The failure with its cause, and the line of the user's file it comes from. */
function failed(skill: SkillConfig, directory: string, what: string, error: unknown): Failure {
  const cause = error instanceof AgentUpError && error.cause !== undefined ? error.cause : error;
  const { file, line, column, message } = placeOf(cause, directory);
  const where = file === undefined ? '' : ` (${relative(directory, file)}:${line}:${column})`;
  const ownFix = loadFix(cause, resolve(directory, skill.handler.split('#')[0] ?? ''));
  const sentence = what === '' ? messageOf(error).replace(/^skill [^:]*: /, '') : `${what}: ${message}`;
  return {
    code: 'HANDLER_LOAD_FAILED',
    message: `the skill ${skill.id}: ${sentence}${where}`,
    fix: ownFix ?? (file === undefined ? 'correct the file' : `look at line ${line} of ${relative(directory, file)}`),
  };
}

function idProblems(loaded: LoadedSkill, index: number): Problem[] {
  const { id, declaredId } = loaded;
  if (declaredId === undefined || declaredId === id) return [];
  return [
    {
      code: 'SKILL_ID_MISMATCH',
      path: ['skills', index, 'id'],
      message: `the skill ${id} calls itself ${declaredId} in @skill(); the agent knows it as ${id}`,
      fix: `write \`id: ${declaredId}\` here, or @skill({ id: '${id}' }) there`,
    },
  ];
}

/** @param owners the skill of each tool seen so far */
function toolProblems({ id, tools }: LoadedSkill, path: Problem['path'], owners: Map<string, string>): Problem[] {
  const problems: Problem[] = [];
  for (const { metadata } of tools) {
    const other = owners.get(metadata.name);
    if (other === undefined) owners.set(metadata.name, id);
    else {
      problems.push({
        code: 'TOOL_NAME_TAKEN',
        path,
        message: `the skill ${id}: its tool ${metadata.name} is called like one of the skill ${other}`,
        fix: `give it a name of its own: @tool({ name: '${id}_${metadata.name}' })`,
      });
    }
  }
  return problems;
}

function isFile(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}
