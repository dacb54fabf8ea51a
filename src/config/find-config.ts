import { statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/** The name under which a configuration is looked for. */
export const CONFIG_FILE = 'agent_config.yaml';

/** The nearest `agent_config.yaml`: in this directory or the ones above it. */
export function findConfig(startDir: string): string | undefined {
  for (let directory = resolve(startDir); ; directory = dirname(directory)) {
    const file = join(directory, CONFIG_FILE);
    if (isFile(file)) return file;
    if (dirname(directory) === directory) return undefined;
  }
}

function isFile(file: string): boolean {
  try {
    return statSync(file).isFile();
  } catch {
    // A directory above that may not be entered holds no configuration of ours.
    return false;
  }
}
