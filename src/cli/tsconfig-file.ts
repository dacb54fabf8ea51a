import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, extname, join, resolve } from 'node:path';
import { AgentUpError, messageOf } from '../errors.js';

/** The compiler options that matter to a handler's source. */
export interface CompilerOptions {
  readonly experimentalDecorators?: boolean;
  readonly strict?: boolean;
}

/** The `tsconfig.json` of a directory or of the nearest one above it. */
export function findTsconfig(directory: string): string | undefined {
  const file = join(directory, 'tsconfig.json');
  if (existsSync(file)) return file;
  const above = dirname(directory);
  return above === directory ? undefined : findTsconfig(above);
}

/**
 * The compiler options of a tsconfig and of those it extends.
 * @throws CONFIG_INVALID when one cannot be read
 */
export function compilerOptions(file: string, below: readonly string[] = []): CompilerOptions {
  if (below.includes(file)) throw invalid(file, 'it extends itself');
  let content: { extends?: string | string[]; compilerOptions?: CompilerOptions };
  try {
    content = JSON.parse(plainJson(readFileSync(file, 'utf8'))) as typeof content;
  } catch (error) {
    throw invalid(file, messageOf(error), error);
  }
  const bases = [content.extends ?? []].flat().map((base) => compilerOptions(locate(base, file), [...below, file]));
  return Object.assign({}, ...bases, content.compilerOptions);
}

function locate(base: string, from: string): string {
  if (/^\.{0,2}\//.test(base) || base.startsWith('..')) {
    const path = resolve(dirname(from), base);
    return extname(path) === '.json' ? path : `${path}.json`;
  }
  const require = createRequire(from);
  for (const name of [base, `${base}.json`, `${base}/tsconfig.json`]) {
    try {
      return require.resolve(name);
    } catch {
      // The next spelling may be the one.
    }
  }
  throw invalid(from, `${base}, which it extends, is not installed`);
}

/** JSON with comments and trailing commas, as JSON. */
function plainJson(text: string): string {
  return text
    .replace(/^\uFEFF/, '')
    .replace(/("(?:\\.|[^"\\])*")|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (_, literal?: string) => literal ?? ' ')
    .replace(/("(?:\\.|[^"\\])*")|,(?=\s*[}\]])/g, (_, literal?: string) => literal ?? '');
}

function invalid(file: string, why: string, cause?: unknown): AgentUpError {
  return new AgentUpError('CONFIG_INVALID', `${file}: ${why}`, { file, ...(cause !== undefined && { cause }) });
}
