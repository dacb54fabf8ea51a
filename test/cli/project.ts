import { mkdir, mkdtemp, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Ran, run, runHere } from './run-cli.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PACKAGES = ['@types/node', 'reflect-metadata', 'tsx', 'typescript', 'vite', 'vitest'];

/** An empty directory with what `npm install` would bring, linked from this repository: no network is needed. */
export async function emptyProject(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'cli-project-'));
  const modules = join(directory, 'node_modules');
  for (const name of PACKAGES) {
    await mkdir(dirname(join(modules, name)), { recursive: true });
    await symlink(join(ROOT, 'node_modules', name), join(modules, name));
  }
  await symlink(ROOT, join(modules, 'agentup'));
  return directory;
}

/** A project made by `agentup init`. */
export async function freshProject(...args: string[]): Promise<string> {
  const cwd = await emptyProject();
  const ran = await runHere(['init', '--yes', ...args], { cwd });
  if (ran.status !== 0) throw new Error(ran.stderr);
  return cwd;
}

/** Runs an installed tool's script in a project. */
export function runTool(cwd: string, script: string, ...args: string[]): Promise<Ran> {
  return run(process.execPath, [join(cwd, 'node_modules', script), ...args], { cwd });
}
