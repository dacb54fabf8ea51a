import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  type ParsedNode,
  parseAllDocuments,
  type Scalar,
  visit,
  type YAMLMap,
} from 'yaml';
import { isSecretName } from '../redact.js';
import { FINDING_CODES, type Finding, type Path, type Problem, pathText } from './finding.js';
import { CodeFrames, printable } from './frame.js';

/** A place in the file, and what to show of it. */
export interface Location {
  readonly line: number;
  readonly column: number;
  readonly frame: string;
}

/** Where a path leads: how far it exists, and the nodes there. */
interface Found {
  readonly key: Node | undefined;
  readonly value: Node | undefined;
  /** The whole path exists. */
  readonly complete: boolean;
}

const MAX_HOPS = 100;

/** The text of a configuration, with the place of everything in it. Takes any text, YAML or not. */
export class ConfigDocument {
  /** Without the byte order mark. */
  readonly text: string;
  /** All documents of the text; one in a valid file, none in an empty one. */
  readonly documents: readonly Document.Parsed[];
  readonly #lines: readonly string[];
  readonly #counter = new LineCounter();
  #surveyed: Survey | undefined;
  #framed: CodeFrames | undefined;

  constructor(text: string) {
    this.text = text.replace(/^\uFEFF/, '');
    this.#lines = this.text.replace(/\r?\n$/, '').split(/\r?\n/);
    this.documents = this.#parse();
  }

  get root(): Node | null {
    return this.documents[0]?.contents ?? null;
  }

  /** What an alias stands for, or nothing. */
  targetOf(alias: Alias): Node | undefined {
    return this.#survey().targets.get(alias);
  }
  /** Is this path written in the file? Defaults are not. */
  has(path: Path): boolean {
    return this.#find(path).complete;
  }

  /** The place of the value at a path, or of its key; where it is missing, of the innermost thing that is there. */
  locate(path: Path, options: { readonly key?: boolean } = {}): Location {
    const { key, value, complete } = this.#find(path);
    const node = ((options.key || !complete) && key) || value || key;
    const range = node?.range;
    return range ? this.locateOffsets(range[0], range[1]) : this.locateOffsets(0, 0);
  }

  /** The place of a piece of the text. */
  locateOffsets(start: number, end: number): Location {
    const { line, col } = this.#counter.linePos(Math.min(Math.max(start, 0), this.text.length));
    // The counter knows no lines before the first one was met, in an empty text.
    const spot = { line: Math.max(line, 1), column: Math.max(col, 1), length: Math.max(end - start, 0) };
    const frame = this.text === '' ? '' : this.#frames().at(spot);
    return { line: spot.line, column: spot.column, frame };
  }

  /** The value at a path as it is written, where it is a scalar on one line. */
  sourceAt(path: Path): string | undefined {
    const { value, complete } = this.#find(path);
    if (!complete || !isScalar(value) || !value.range) return undefined;
    const source = this.text.slice(value.range[0], value.range[1]);
    return source === '' || /[\r\n]/.test(source) ? undefined : source;
  }

  /** A problem with its place. */
  finding(problem: Problem): Finding {
    const { code, path, message, fix, at, onKey, range } = problem;
    const { line, column, frame } = range
      ? this.locateOffsets(...range)
      : this.locate(at ?? path, { key: onKey === true });
    const severity = FINDING_CODES[code][0];
    return {
      code,
      severity,
      path: printable(pathText(path)),
      line,
      column,
      message: printable(message),
      ...(fix !== undefined && { fix: printable(fix) }),
      frame,
    };
  }

  #parse(): Document.Parsed[] {
    return [
      ...parseAllDocuments<ParsedNode>(this.text, {
        lineCounter: this.#counter,
        prettyErrors: false,
        merge: true,
        stringKeys: true,
        resolveKnownTags: false,
        logLevel: 'silent',
      }),
    ];
  }

  #find(path: Path): Found {
    let key: Node | undefined;
    let value = this.#behind(this.root ?? undefined);
    for (const step of path) {
      let next: Node | undefined;
      if (isMap(value)) {
        const pair = this.#pairOf(value, String(step), 0);
        if (pair) {
          key = pair.key as Node;
          next = (pair.value as Node | null) ?? key;
        }
      } else if (isSeq(value) && typeof step === 'number') {
        next = value.items[step] as Node | undefined;
        if (next) key = undefined;
      }
      if (!next) return { key, value, complete: false };
      value = this.#behind(next);
    }
    return { key, value, complete: true };
  }

  /** The last pair of that name, as reading does, or the one a merge key brings in. */
  #pairOf(map: YAMLMap, name: string, hops: number): Pair | undefined {
    const own = map.items.findLast(
      (pair) => isScalar(pair.key) && !isMergeKey(pair) && String(pair.key.value) === name,
    );
    if (own || hops > MAX_HOPS) return own;
    for (const pair of map.items) {
      if (!isMergeKey(pair)) continue;
      const source = this.#behind(pair.value as Node);
      for (const merged of isSeq(source) ? source.items.map((item) => this.#behind(item as Node)) : [source]) {
        const found = isMap(merged) ? this.#pairOf(merged, name, hops + 1) : undefined;
        if (found) return found;
      }
    }
    return undefined;
  }

  /** The node an alias stands for; the alias itself where it stands for nothing. */
  #behind(node: Node | undefined): Node | undefined {
    return isAlias(node) ? (this.targetOf(node) ?? node) : node;
  }

  #survey(): Survey {
    this.#surveyed ??= survey(this.documents, this.#lines.length, (offset) => this.#counter.linePos(offset).line);
    return this.#surveyed;
  }

  #frames(): CodeFrames {
    this.#framed ??= new CodeFrames(this.#lines, this.#survey().hidden);
    return this.#framed;
  }
}

interface Survey {
  /** What each alias stands for. */
  readonly targets: ReadonlyMap<Alias, Node>;
  /** The lines of secrets that run over several; those on one line are found in the line. */
  readonly hidden: ReadonlySet<number>;
}

/** One walk over everything: asking each alias for its target would be a walk each time. */
function survey(documents: readonly Document.Parsed[], lines: number, lineOf: (offset: number) => number): Survey {
  const targets = new Map<Alias, Node>();
  const hidden = new Set<number>();
  try {
    for (const document of documents) {
      const anchors = new Map<string, Node>();
      visit(document, {
        Node: (_, node, ancestors) => {
          if (isAlias(node)) {
            const target = anchors.get(node.source);
            if (target) targets.set(node, target);
            return;
          }
          if (node.anchor !== undefined) anchors.set(node.anchor, node);
          if (!isScalar(node) || !node.range || !isSecret(node, ancestors)) return;
          const first = lineOf(node.range[0]) + (node.type?.startsWith('BLOCK') ? 1 : 0);
          const last = lineOf(Math.max(node.range[0], node.range[1] - 1));
          // On one line the frame finds it by itself, and shows the rest of the line.
          if (first === last && !node.type?.startsWith('BLOCK') && !isKeyOfList(ancestors)) return;
          for (let line = first; line <= last; line++) hidden.add(line);
        },
      });
    }
  } catch {
    // Nested too deeply to walk: then no line is certain to be harmless.
    for (let line = 1; line <= lines; line++) hidden.add(line);
  }
  return { targets, hidden };
}

function isSecret(node: Scalar, ancestors: readonly unknown[]): boolean {
  const parent = ancestors.at(-1);
  if (isPair(parent) && parent.key !== node && isScalar(parent.key) && isSecretName(String(parent.key.value)))
    return true;
  if (isKeyOfList(ancestors) && !isReference(node)) return true;
  return typeof node.value === 'string' && node.value.includes('://') && node.value.includes('@');
}

/** An item of `previous: [...]`, which no name beside it tells to be a secret. */
function isKeyOfList(ancestors: readonly unknown[]): boolean {
  const [pair, list] = ancestors.slice(-2);
  return isSeq(list) && isPair(pair) && isScalar(pair.key) && pair.key.value === 'previous';
}

/** The name of a variable is no secret; a default that stands beside it is. */
function isReference({ value }: Scalar): boolean {
  return typeof value === 'string' && /^\$\{[A-Za-z_]\w*\}$/.test(value);
}

/** Is this pair a `<<`, which takes over the entries of another map? */
export function isMergeKey(pair: Pair): boolean {
  const key = pair.key;
  return isScalar(key) && key.type === 'PLAIN' && (key.source ?? String(key.value)) === '<<';
}
