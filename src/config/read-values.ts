import { type Alias, isAlias, isMap, isScalar, isSeq, type Node, type Pair, type YAMLMap } from 'yaml';
import { type ConfigDocument, isMergeKey } from './config-document.js';
import { type Path, type Problem, pathKey, pathText } from './finding.js';
import { type Environment, interpolate } from './interpolate.js';

/** The plain values of a document, with what is known about where they come from. */
export interface ReadValues {
  readonly value: unknown;
  /** Paths (`pathKey`) of texts that come from the environment or from a default. */
  readonly interpolated: ReadonlySet<string>;
  /** Paths (`pathKey`) whose value is not known, because a problem has been reported there. */
  readonly unknown: ReadonlySet<string>;
  readonly problems: readonly Problem[];
}

const MAX_DEPTH = 100;
/** Maps that merge maps that merge maps. */
const MAX_HOPS = 10;
/** Far more than any configuration has; aliases in aliases would reach it soon. */
const MAX_NODES = 50_000;

/**
 * Reads the values of a document: aliases and merge keys resolved, the environment put in. `accepts` says which
 * entries of the top level to read.
 */
export function readValues(
  document: ConfigDocument,
  env: Environment,
  accepts: (pair: Pair) => boolean = () => true,
): ReadValues {
  const reader = new Reader(document, env, accepts);
  const value = reader.read(document.root, []);
  return { value, interpolated: reader.interpolated, unknown: reader.unknown, problems: reader.problems };
}

class Reader {
  readonly interpolated = new Set<string>();
  readonly unknown = new Set<string>();
  readonly problems: Problem[] = [];
  readonly #document: ConfigDocument;
  readonly #env: Environment;
  readonly #accepts: (pair: Pair) => boolean;
  /** Aliased values are read in several places; what is wrong with them is said once. */
  readonly #reported = new Set<unknown>();
  #nodes = 0;

  constructor(document: ConfigDocument, env: Environment, accepts: (pair: Pair) => boolean) {
    this.#document = document;
    this.#env = env;
    this.#accepts = accepts;
  }

  read(node: unknown, path: Path): unknown {
    this.#nodes++;
    if (isAlias(node)) return this.#readAlias(node, path);
    if (path.length > MAX_DEPTH || this.#nodes > MAX_NODES) {
      this.unknown.add(pathKey(path));
      this.#complain('size', path, 'is nested too deeply, or repeats itself through aliases too often');
      return undefined;
    }
    if (isScalar(node)) return typeof node.value === 'string' ? this.#readText(node, node.value, path) : node.value;
    if (isSeq(node)) return node.items.map((item, index) => this.read(item, [...path, index]));
    if (isMap(node)) return this.#readMap(node, path);
    return null;
  }

  #readText(node: Node, text: string, path: Path): string {
    const result = interpolate(text, this.#env);
    if (result.replaced) this.interpolated.add(pathKey(path));
    if (result.problems.some(({ code }) => code !== 'ENV_DASH')) this.unknown.add(pathKey(path));
    if (!this.#reported.has(node)) {
      this.#reported.add(node);
      for (const { code, message, fix, piece } of result.problems) {
        const range = this.#rangeOf(node, piece);
        this.problems.push({ code, path, range, message: `${pathText(path) || 'the file'}: ${message}`, fix });
      }
    }
    return result.text;
  }

  /** Where a piece of a text stands, unless it is written with escapes or over several lines. */
  #rangeOf({ range }: Node, piece: string): readonly [number, number] | undefined {
    if (!range) return undefined;
    const index = this.#document.text.slice(range[0], range[1]).indexOf(piece);
    return index < 0 ? [range[0], range[1]] : [range[0] + index, range[0] + index + piece.length];
  }

  #readAlias(node: Alias, path: Path): unknown {
    const target = this.#document.targetOf(node);
    if (target) return this.read(target, path);
    this.unknown.add(pathKey(path));
    this.#complain(
      node,
      path,
      `refers to \`*${node.source}\`, and no \`&${node.source}\` stands before it`,
      node.range,
    );
    return undefined;
  }

  #readMap(map: YAMLMap, path: Path): Record<string, unknown> {
    const out: Record<string, unknown> = {};
    this.#fill(out, map, path, 0);
    return out;
  }

  /** Own keys win over merged ones, and of several merged maps the first, so each key is read only once. */
  #fill(out: Record<string, unknown>, map: YAMLMap, path: Path, hops: number): void {
    const pairs = path.length === 0 ? map.items.filter((pair) => this.#accepts(pair)) : map.items;
    const missing = pairs.flatMap((pair) => {
      if (isMergeKey(pair) || !isScalar(pair.key)) return [];
      const name = String(pair.key.value);
      return Object.hasOwn(out, name) ? [] : [{ name, value: pair.value }];
    });
    for (const { name, value } of missing) {
      const enumerable = true;
      // Also a key called `__proto__` is an entry.
      Object.defineProperty(out, name, {
        value: this.read(value, [...path, name]),
        enumerable,
        writable: true,
        configurable: true,
      });
    }
    for (const pair of pairs.filter(isMergeKey)) this.#merge(out, pair, path, hops);
  }

  #merge(out: Record<string, unknown>, pair: Pair, path: Path, hops: number): void {
    const target = this.#behind(pair.value);
    for (const item of isSeq(target) ? target.items : [target]) {
      const map = this.#behind(item);
      if (isMap(map) && hops < MAX_HOPS && ++this.#nodes <= MAX_NODES) {
        this.#fill(out, map, path, hops + 1);
      } else {
        const { range } = (pair.value ?? pair.key) as Node;
        const what = isMap(map) ? 'merges maps within maps too often' : 'merges something that is not a map';
        this.#complain(pair, path, what, range);
      }
    }
  }

  #behind(node: unknown): unknown {
    return isAlias(node) ? this.#document.targetOf(node) : node;
  }

  /** Once about one thing, in however many places it is read. */
  #complain(about: unknown, path: Path, what: string, range?: Node['range']): void {
    if (this.#reported.has(about)) return;
    this.#reported.add(about);
    this.problems.push({
      code: 'YAML_ALIAS',
      path,
      message: `${pathText(path) || 'the file'} ${what}`,
      fix: 'write the value out',
      ...(range && { range: [range[0], range[1]] as const }),
    });
  }
}
