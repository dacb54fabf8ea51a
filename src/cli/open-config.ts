import { type LoadedConfig, loadConfig } from '../config/index.js';
import { type PlaceFlags, workingDirectory } from './place.js';
import type { Terminal } from './terminal.js';

/** The configuration a command works with. @throws CONFIG_NOT_FOUND, CONFIG_INVALID */
export function openConfig(flags: PlaceFlags, terminal: Terminal): Promise<LoadedConfig> {
  const cwd = workingDirectory(flags, terminal);
  return loadConfig({ cwd, env: terminal.env, ...(flags.config !== undefined && { file: flags.config }) });
}
