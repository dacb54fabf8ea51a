import { isMap, isScalar, type Node, type Pair, visit, type YAMLError } from 'yaml';
import type { ConfigDocument } from './config-document.js';
import type { Problem } from './finding.js';
import { quote } from './schema-problems.js';

export interface YamlProblems {
  readonly problems: readonly Problem[];
  /** Where the text stops being reliable: nothing from here on means what it seems to. */
  readonly brokenFrom: number | undefined;
}

/** One mistake makes the parser stumble on; more than these help nobody. */
const MAX_PROBLEMS = 20;

const FIXES: Partial<Record<YAMLError['code'], string>> = {
  BLOCK_AS_IMPLICIT_KEY: 'put the value in quotes if it holds ": ", or put the key on a line of its own',
  BAD_SCALAR_START: 'put the value in quotes',
  BAD_INDENT: 'indent entries of one level alike, with spaces',
  MISSING_CHAR: 'add the character that is missing',
  MULTILINE_IMPLICIT_KEY: 'write the key and its colon on one line',
  BAD_DQ_ESCAPE: 'write \\\\ for a backslash, or use single quotes',
  NON_STRING_KEY: 'use a plain text as the key',
};

/** What is wrong with a text as YAML. */
export function yamlProblems(document: ConfigDocument): YamlProblems {
  const [first, second] = document.documents;
  const problems: Problem[] = [];
  let brokenFrom: number | undefined;
  const seen = new Set<string>();
  for (const error of first?.errors ?? []) {
    if (error.code !== 'DUPLICATE_KEY') brokenFrom = Math.min(brokenFrom ?? Number.POSITIVE_INFINITY, error.pos[0]);
    const problem = problemOf(document, error);
    // One broken line is one mistake, whatever number of tokens of it do not fit.
    const place = `${problem.code}:${document.locateOffsets(...(problem.range ?? [0, 0])).line}`;
    if (problems.length >= MAX_PROBLEMS || (problem.code !== 'DUPLICATE_KEY' && seen.has(place))) continue;
    seen.add(place);
    problems.push(problem);
  }
  for (const warning of first?.warnings ?? []) {
    if (warning.code !== 'TAG_RESOLVE_FAILED' || problems.length >= MAX_PROBLEMS) continue;
    problems.push({
      code: 'YAML_TAG',
      path: [],
      range: warning.pos,
      message: 'YAML tags (`!name`) mean nothing in this file',
      fix: 'remove the tag; the environment is read with ${NAME}',
    });
  }
  const other = second?.contents as Node | null | undefined;
  if (other?.range && !(isScalar(other) && other.value === null)) {
    problems.push({
      code: 'MULTIPLE_DOCUMENTS',
      path: [],
      range: [other.range[0], other.range[0]],
      message: 'a second YAML document begins here; only the first would be read',
      fix: 'remove the `---` or `...` before it, or move it into a file of its own',
    });
  }
  return { problems, brokenFrom };
}

function problemOf(document: ConfigDocument, { code, message, pos }: YAMLError): Problem {
  const range: [number, number] = [pos[0], pos[1]];
  switch (code) {
    case 'DUPLICATE_KEY':
      return duplicate(document, range);
    case 'TAB_AS_INDENT':
      return { code: 'TAB_INDENT', path: [], range, message: 'a tab is used as indentation', fix: 'use spaces' };
    case 'RESOURCE_EXHAUSTION':
      return { code: 'YAML_SYNTAX', path: [], range, message: 'the text is nested too deeply' };
    default: {
      const open = code === 'MISSING_CHAR' ? openQuote(document, pos[0]) : undefined;
      if (open !== undefined) {
        return {
          code: 'YAML_SYNTAX',
          path: [],
          range: [open, open + 1],
          message: 'a quote is opened here and never closed',
          fix: 'close it where the value ends',
        };
      }
      // A plain `${` opens a map as far as YAML is concerned, inside `{ }` and `[ ]`.
      if (code === 'UNEXPECTED_TOKEN' && document.text.slice(pos[0] - 1, pos[0] + 1) === '${') {
        return {
          code: 'YAML_SYNTAX',
          path: [],
          range: [pos[0] - 1, pos[1]],
          message: 'inside `{ }` or `[ ]` a value with ${…} must be in quotes',
          fix: 'put the value in quotes',
        };
      }
      return { code: 'YAML_SYNTAX', path: [], range, message: sentence(message), fix: FIXES[code] };
    }
  }
}

/** Where the quote stands whose end is missing at `offset`. */
function openQuote(document: ConfigDocument, offset: number): number | undefined {
  let start: number | undefined;
  for (const parsed of document.documents) {
    visit(parsed, {
      Scalar: (_, node) => {
        if (node.range && node.type?.startsWith('QUOTE') && node.range[0] < offset && node.range[1] >= offset)
          start = node.range[0];
      },
    });
  }
  return start;
}

function duplicate(document: ConfigDocument, range: [number, number]): Problem {
  const found = ownerOf(document, range[0]);
  const name = found?.name ?? document.text.slice(...range);
  return {
    code: 'DUPLICATE_KEY',
    path: found?.path ?? [],
    range: found?.range ?? range,
    message: `the key ${quote(name)} is given twice${found ? `; first in line ${found.firstLine}` : ''}`,
    fix: 'keep one of them',
  };
}

interface Duplicate {
  readonly name: string;
  readonly path: (string | number)[];
  readonly range: readonly [number, number];
  readonly firstLine: number;
}

/** The map entry whose key begins at `offset`, with its path. */
function ownerOf(document: ConfigDocument, offset: number): Duplicate | undefined {
  let found: Duplicate | undefined;
  if (!document.documents[0]) return undefined;
  visit(document.documents[0], {
    Pair: (_, pair, ancestors) => {
      const key = pair.key as Node | null;
      if (!isScalar(key) || !key.range || key.range[0] !== offset) return undefined;
      const map = ancestors.at(-1);
      const name = String(key.value);
      const first = isMap(map)
        ? map.items.find((item) => isScalar(item.key) && String(item.key.value) === name)
        : undefined;
      const firstStart = (first?.key as Node | undefined)?.range?.[0] ?? offset;
      found = {
        name,
        path: [...pathOf(ancestors, pair), name],
        range: [key.range[0], key.range[1]],
        firstLine: document.locateOffsets(firstStart, firstStart).line,
      };
      return visit.BREAK;
    },
  });
  return found;
}

function pathOf(ancestors: readonly unknown[], pair: Pair): (string | number)[] {
  const path: (string | number)[] = [];
  const chain = [...ancestors, pair];
  for (const [index, ancestor] of ancestors.entries()) {
    const next = chain[index + 1];
    if (isPairLike(ancestor) && isScalar(ancestor.key)) path.push(String(ancestor.key.value));
    else if (isSeqLike(ancestor)) path.push(ancestor.items.indexOf(next));
  }
  return path;
}

function isPairLike(value: unknown): value is Pair {
  return typeof value === 'object' && value !== null && 'key' in value && 'value' in value && !('items' in value);
}

function isSeqLike(value: unknown): value is { items: unknown[] } {
  return typeof value === 'object' && value !== null && 'items' in value && !isMap(value);
}

/** In our manner, and without the piece of the text that some messages end with: the frame shows it, redacted. */
function sentence(message: string): string {
  const bare = message.replace(/ in YAML stream.*$|(?<=extra characters|YAML token|valid tag|resolve tag): .*$/s, '');
  return bare.charAt(0).toLowerCase() + bare.slice(1);
}
