import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { isAgentUpError, messageOf } from '../errors.js';

const MISSING_PACKAGE = /^Cannot find (?:package|module) '((?:@[a-z0-9][\w.-]*\/)?[a-z0-9][\w.-]*)(?:\/[^':]*)?'/;

/** What to do about a handler file that cannot be loaded, where the error says as much; else nothing. */
export function loadFix(error: unknown, file: string): string | undefined {
  // Of what our own decorators refuse.
  if (isAgentUpError(error)) return error.details.fix;
  const [, missing] = MISSING_PACKAGE.exec(messageOf(error)) ?? [];
  if (missing !== undefined) return `run: npm install ${missing}`;
  if (error instanceof SyntaxError && ['.js', '.mjs', '.cjs'].includes(extname(file)) && hasDecorators(file)) {
    return 'Node runs no decorators in JavaScript: make it a .ts file, or export withState(async (task, context, contextId) => …)';
  }
  return undefined;
}

function hasDecorators(file: string): boolean {
  return /^\s*@[A-Za-z_$]/m.test(readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\//g, ''));
}
