import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { findConfig, type LoadedConfig, loadConfig } from '../config/index.js';
import { type PlaceFlags, workingDirectory } from './place.js';
import type { Terminal } from './terminal.js';

/**
 * The configuration a command works with.
 * @param stopgap what stands for variables that are not set, by the text of the file. Default: nothing does
 * @throws CONFIG_NOT_FOUND, CONFIG_INVALID
 */
export async function openConfig(
  flags: PlaceFlags,
  terminal: Terminal,
  stopgap: (text: string) => Readonly<Record<string, string>> = () => ({}),
): Promise<LoadedConfig> {
  const cwd = workingDirectory(flags, terminal);
  const file = flags.config === undefined ? findConfig(cwd) : resolve(cwd, flags.config);
  const env = { ...stopgap(textOf(file)), ...terminal.env };
  return loadConfig({ cwd, env, ...(file !== undefined && { file }) });
}

function textOf(file: string | undefined): string {
  try {
    return file === undefined ? '' : readFileSync(file, 'utf8');
  } catch {
    // Whoever loads it says what is wrong.
    return '';
  }
}
