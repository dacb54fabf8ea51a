import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { AgentUpError } from '../errors.js';
import { checkValues } from './check-values.js';
import { ConfigDocument } from './config-document.js';
import { configInvalid } from './config-invalid.js';
import { CONFIG_FILE, findConfig } from './find-config.js';
import type { Finding, Problem } from './finding.js';
import type { Environment } from './interpolate.js';
import type { AgentConfig, AgentConfigInput } from './schema.js';
import { only, type Validation, validateConfigText } from './validate-config-text.js';

export interface LoadOptions {
  /** The file. Default: the `agent_config.yaml` in `cwd` or above it. */
  readonly file?: string | undefined;
  /** Where to look, and what a relative `file` starts from. Default: the working directory. */
  readonly cwd?: string | undefined;
  /** What `${NAME}` refers to. Default: `process.env`. */
  readonly env?: Environment | undefined;
}

/** A configuration that may be used, and where it comes from. */
export interface LoadedConfig {
  readonly config: AgentConfig;
  /** Absolute path. */
  readonly file: string;
  /** What relative paths in it start from. */
  readonly directory: string;
  readonly document: ConfigDocument;
  /** What is worth knowing though it stops nothing. */
  readonly warnings: readonly Finding[];
}

/** What there is to say about a configuration file. */
export interface FileValidation extends Validation {
  /** Absolute path. */
  readonly file: string;
  readonly directory: string;
}

/**
 * Finds, reads and checks a configuration.
 * @throws CONFIG_NOT_FOUND; CONFIG_INVALID with all findings in `details.issues`
 */
export async function loadConfig(options: LoadOptions = {}): Promise<LoadedConfig> {
  const { findings, config, file, directory, document } = validateConfigFile(options);
  if (config === undefined) throw configInvalid(basename(file), findings, file);
  return { config, file, directory, document, warnings: findings };
}

/**
 * Finds, reads and checks a configuration, and reports what is wrong with it instead of throwing.
 * @throws CONFIG_NOT_FOUND
 */
export function validateConfigFile({ file: given, cwd = process.cwd(), env }: LoadOptions = {}): FileValidation {
  const file = given === undefined ? findConfig(cwd) : resolve(cwd, given);
  if (file === undefined) throw notFound(`no ${CONFIG_FILE} in ${resolve(cwd)} or above it`, resolve(cwd), OR_NAME_IT);
  const where = { file, directory: dirname(file) };
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw notFound(`there is no file ${file}`, file, CORRECT_IT, error);
    if (code === 'EISDIR') throw notFound(`${file} is a directory`, file, CORRECT_IT, error);
    const problem: Problem = {
      code: 'FILE_UNREADABLE',
      path: [],
      message: `the file cannot be read (${code})`,
      fix: 'see who may read it',
    };
    return { ...where, ...only(problem) };
  }
  return { ...where, ...validateConfigText(bytes.toString('utf8'), { file, env }) };
}

/**
 * A configuration given as an object, with its defaults. The environment is not looked at: code has better means.
 * @throws CONFIG_INVALID with all findings in `details.issues`
 */
export function parseConfig(input: AgentConfigInput): AgentConfig {
  const { problems, config } = checkValues({ value: input });
  const document = new ConfigDocument('');
  const findings = problems.map((problem) => document.finding(problem));
  if (config === undefined || findings.some(({ severity }) => severity === 'error')) {
    throw configInvalid('the configuration', findings);
  }
  return config;
}

const OR_NAME_IT = 'run `npx agentup init`, or name the file';
const CORRECT_IT = `correct the path, or leave it out to use the nearest ${CONFIG_FILE}`;

function notFound(message: string, path: string, fix: string, cause?: unknown): AgentUpError {
  const other = join(path, 'agent_config.yml');
  return new AgentUpError('CONFIG_NOT_FOUND', message, {
    path,
    fix: existsSync(other) ? `rename ${other} to ${CONFIG_FILE}` : fix,
    ...(cause !== undefined && { cause }),
  });
}
