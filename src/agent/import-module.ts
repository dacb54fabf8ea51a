import { existsSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const registered = new Set<string>();

/**
 * Imports a module of the user's project; TypeScript sources as they are, with the compiler options of the
 * `tsconfig.json` above them (decorators depend on those).
 */
export async function importModule(file: string): Promise<Record<string, unknown>> {
  if (['.ts', '.mts', '.cts', '.tsx'].includes(extname(file))) await compileTypeScript(dirname(file));
  return (await import(pathToFileURL(file).href)) as Record<string, unknown>;
}

/**
 * Registered once and kept: what a handler imports later, while it runs, is TypeScript as well. Without a namespace
 * of its own, so that the project's `agentup` is the same module as ours.
 */
async function compileTypeScript(directory: string): Promise<void> {
  const tsconfig = findTsconfig(directory);
  const name = tsconfig ?? '';
  if (registered.has(name)) return;
  registered.add(name);
  const { register } = await import('tsx/esm/api');
  register({ tsconfig: tsconfig ?? false });
}

function findTsconfig(directory: string): string | undefined {
  const file = join(directory, 'tsconfig.json');
  if (existsSync(file)) return file;
  const above = dirname(directory);
  return above === directory ? undefined : findTsconfig(above);
}
