import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, extname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

type Module = Record<string, unknown>;

const registered = new Set<string>();

/**
 * Imports a module of the user's project, an ES module or CommonJS; TypeScript sources as they are, with the compiler
 * options of the `tsconfig.json` above them (decorators depend on those).
 */
export async function importModule(file: string): Promise<Module> {
  const module = await evaluate(file);
  // Node speaks of a promise that failed and that nobody waits for when all that is ready has run: before we go on.
  await setImmediate();
  return module;
}

async function evaluate(file: string): Promise<Module> {
  const typescript = ['.ts', '.mts', '.cts', '.tsx'].includes(extname(file));
  if (typescript) await compileTypeScript(dirname(file));
  if (!isCommonJs(file)) return import(pathToFileURL(file).href);
  // Imported, TypeScript would be handed to Node's loader of ES modules, which refuses what tsx makes of it.
  return exportsOf(typescript ? { default: createRequire(file)(file) } : await import(pathToFileURL(file).href));
}

/**
 * Registered once and kept: what a handler imports later, while it runs, is TypeScript as well. Without a namespace
 * of its own, so that the project's `agentup` is the same module as ours.
 */
async function compileTypeScript(directory: string): Promise<void> {
  const tsconfig = nearest('tsconfig.json', directory);
  const name = tsconfig ?? '';
  if (registered.has(name)) return;
  registered.add(name);
  const [esm, commonjs] = await Promise.all([import('tsx/esm/api'), import('tsx/cjs/api')]);
  esm.register({ tsconfig: tsconfig ?? false });
  // Its only way to be told of a tsconfig.json that is not the one of the working directory.
  const before = process.env['TSX_TSCONFIG_PATH'];
  if (tsconfig !== undefined) process.env['TSX_TSCONFIG_PATH'] = tsconfig;
  try {
    commonjs.register();
  } finally {
    if (before === undefined) delete process.env['TSX_TSCONFIG_PATH'];
    else process.env['TSX_TSCONFIG_PATH'] = before;
  }
}

/** The exports of a CommonJS module by name, also where all of them are in the default. */
function exportsOf(module: Module): Module {
  const { default: whole } = module;
  if (typeof whole !== 'object' || whole === null) return module;
  if ((whole as Module)['__esModule'] === true) return { ...whole };
  const others = Object.keys(module).filter((name) => name !== 'default' && name !== 'module.exports');
  return others.length === 0 ? { ...whole, default: whole } : module;
}

/** Does Node take this file for CommonJS? (A `.js` with the syntax of an ES module it takes for one all the same.) */
function isCommonJs(file: string): boolean {
  const extension = extname(file);
  if (['.mjs', '.mts'].includes(extension)) return false;
  if (['.cjs', '.cts'].includes(extension)) return true;
  const manifest = nearest('package.json', dirname(file));
  if (manifest === undefined) return true;
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { type?: unknown }).type !== 'module';
}

function nearest(name: string, directory: string): string | undefined {
  const file = join(directory, name);
  if (existsSync(file)) return file;
  const above = dirname(directory);
  return above === directory ? undefined : nearest(name, above);
}
