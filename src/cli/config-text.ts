import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { findConfig } from '../config/find-config.js';
import { AgentUpError, messageOf } from '../errors.js';

/** A configuration as it is written. */
export interface ConfigText {
  /** Absolute path. */
  readonly file: string;
  readonly text: string;
}

/**
 * The text of the configuration that is named, or found from `cwd` upwards; valid or not.
 * @throws CONFIG_NOT_FOUND; CONFIG_INVALID when it cannot be read
 */
export async function readConfigText(cwd: string, named?: string): Promise<ConfigText> {
  const file = named === undefined ? findConfig(cwd) : resolve(cwd, named);
  if (file === undefined) throw notFound(`no agent_config.yaml in ${cwd} or above it`, cwd);
  try {
    return { file, text: await readFile(file, 'utf8') };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') throw notFound(`there is no ${file}`, file);
    throw new AgentUpError('CONFIG_INVALID', `${file} cannot be read: ${messageOf(cause)}`, { file, cause });
  }
}

function notFound(message: string, path: string): AgentUpError {
  return new AgentUpError('CONFIG_NOT_FOUND', message, { path, fix: 'run `agentup init`, or name the file' });
}
