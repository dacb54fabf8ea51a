import { sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../errors.js';

/** Where in the user's project something was thrown, and the sentence that says what. */
export interface Place {
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  readonly message: string;
}

/** What esbuild says about a file it cannot compile. */
interface CompileError {
  readonly errors?: readonly {
    readonly text: string;
    readonly location?: { readonly file: string; readonly line: number; readonly column: number } | null;
  }[];
}

const COMPILE_MESSAGE = /^Transform failed with \d+ errors?:\n(.+?):(\d+):(\d+): ERROR: (.+)/;
const FRAME = /(file:\/\/\/[^\s()]+?|\/[^\s():]+|[A-Za-z]:\\[^\s():]+):(\d+)(?::(\d+))?/g;

/** The compiler's own functions stand in the user's file too, at no place of the source. */
const HELPER = /^ +at (?:__decorate|__runInitializers).*$/gm;

/** The place of an error in a project: of a compile error that of the first mistake, else the innermost own line. */
export function placeOf(error: unknown, directory: string): Place {
  const compile = (error as CompileError | null | undefined)?.errors?.[0];
  if (compile?.location) {
    const { file, line, column } = compile.location;
    return { file, line, column: column + 1, message: compile.text };
  }
  // Through tsx only the text of esbuild's report arrives, not its parts.
  const [, at = '', row, column1, mistake = ''] = COMPILE_MESSAGE.exec(messageOf(error)) ?? [];
  if (row !== undefined) return { file: at, line: Number(row), column: Number(column1) + 1, message: mistake };
  const message = messageOf(error).split('\n')[0] ?? '';
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  for (const [, written = '', line, column] of stack.replace(HELPER, '').matchAll(FRAME)) {
    const file = pathOf(written);
    if (!file.startsWith(directory + sep) || file.includes(`${sep}node_modules${sep}`)) continue;
    return { file, line: Number(line), column: Number(column ?? 1), message };
  }
  return { message };
}

function pathOf(written: string): string {
  // tsx marks what it has loaded with a query.
  const bare = written.replace(/\?.*$/, '');
  if (!bare.startsWith('file:')) return bare;
  try {
    return fileURLToPath(bare);
  } catch {
    return bare;
  }
}
