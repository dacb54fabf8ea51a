import { isDeepStrictEqual } from 'node:util';
import { isMap, isScalar, isSeq, type Node, type Pair, type YAMLMap, type YAMLSeq } from 'yaml';
import { AgentUpError } from '../errors.js';
import { ConfigDocument } from './config-document.js';
import { configInvalid } from './config-invalid.js';
import { pathText } from './finding.js';
import { cutFromFlow, insertIntoFlow } from './flow-edit.js';
import { schemaAt, shapeOf } from './inspect-schema.js';
import { lineEnd, lineStart, splitLine } from './lines.js';
import { configSchema } from './schema.js';
import { commentsOf, keepsAll } from './yaml-comments.js';
import { isNull, lastNode, leafEnd, pairOf } from './yaml-nodes.js';
import { yamlProblems } from './yaml-problems.js';
import { entryLines, inlineYaml, type YamlValue } from './yaml-text.js';

type Values = Record<string, unknown>;

/**
 * A configuration's text with single values changed in it. Only what is said to change does: the rest stays as it is,
 * byte for byte. Every edit is read back, and refused where it would not say what it should or a comment would go.
 */
export class TextEdit {
  readonly #bom: string;
  readonly #eol: string;
  #text: string;
  #document: ConfigDocument;

  /** @throws CONFIG_INVALID where the text is not YAML that can be edited */
  constructor(text: string) {
    this.#bom = text.startsWith('\uFEFF') ? '\uFEFF' : '';
    this.#text = text.slice(this.#bom.length);
    this.#eol = /\r?\n/.exec(text)?.[0] ?? '\n';
    this.#document = read(this.#text);
  }

  get text(): string {
    return this.#bom + this.#text;
  }

  /** The values as they are written, `${NAME}` and all. */
  get values(): Values {
    return valuesOf(this.#document);
  }

  /**
   * Sets one value. Missing maps on the way to it are made.
   * @throws FILE_CONFLICT where the place is written in a way that cannot be changed safely
   */
  set(path: readonly string[], value: YamlValue): void {
    const expected = this.values;
    let inner: Values = expected;
    for (const step of path.slice(0, -1)) {
      const next = inner[step];
      inner = typeof next === 'object' && next !== null ? (next as Values) : define(inner, step, {});
    }
    define(inner, path.at(-1) ?? '', JSON.parse(JSON.stringify(value)));
    this.#replace(this.#withValue(path, value), expected, path);
  }

  /**
   * Removes an entry of a map; comments stay.
   * @throws FILE_CONFLICT
   */
  remove(path: readonly string[]): void {
    const expected = this.values;
    const inner = path.slice(0, -1).reduce<Values>((values, step) => values[step] as Values, expected);
    const key = path.at(-1) ?? '';
    delete inner[key];
    this.#replace(this.#without(path.slice(0, -1), key), expected, path);
  }

  /**
   * Adds an item to the end of a list; the list is made where it is missing.
   * @throws FILE_CONFLICT
   */
  append(path: readonly string[], item: { readonly [key: string]: YamlValue | undefined }): void {
    const expected = this.values;
    const key = path.at(-1) ?? '';
    const inner = path.slice(0, -1).reduce<Values>((values, step) => values[step] as Values, expected);
    const list = inner[key] ?? [];
    define(inner, key, [...(Array.isArray(list) ? (list as unknown[]) : []), JSON.parse(JSON.stringify(item))]);
    this.#replace(this.#withItem(path, item), expected, path);
  }

  #replace(text: string | undefined, expected: Values, path: readonly string[]): void {
    const where = pathText(path);
    const refused = new AgentUpError(
      'FILE_CONFLICT',
      `${where} is written in a way that cannot be changed automatically`,
      {
        path: where,
        fix: 'change it by hand, or write it without anchors, tags and comments inside of values',
      },
    );
    if (text === undefined) throw refused;
    const document = new ConfigDocument(text);
    if (yamlProblems(document).problems.length > 0 || !isDeepStrictEqual(valuesOf(document), expected)) throw refused;
    if (!keepsAll(commentsOf(this.#text), commentsOf(text))) throw refused;
    this.#text = text;
    this.#document = document;
  }

  /** The text with a value set, or nothing where it is not clear how. */
  #withValue(path: readonly string[], value: YamlValue): string | undefined {
    let map: Node | null = this.#document.root;
    for (const [index, step] of path.entries()) {
      if (map === null || isNull(map)) return this.#appendSection(path, value);
      if (!isMap(map)) return undefined;
      const pair = pairOf(map, step);
      const rest = nest(path.slice(index + 1), value);
      if (!pair) return this.#insertPair(map, path.slice(0, index), step, rest);
      const next = pair.value as Node | null;
      if (index === path.length - 1 || next === null || isNull(next)) return this.#replaceValue(pair, rest, map);
      map = next;
    }
    return undefined;
  }

  #replaceValue(pair: Pair, value: YamlValue, map: YAMLMap): string | undefined {
    const node = pair.value as Node | null;
    const key = pair.key as Node;
    if (!key.range) return undefined;
    if (node === null || isNull(node)) {
      const colon = this.#text.indexOf(':', key.range[1]);
      if (colon < 0 || (node?.range && colon > node.range[0])) return undefined;
      const rest = node?.range ? this.#text.slice(node.range[1]) : this.#text.slice(colon + 1);
      const before = this.#text.slice(0, colon + 1);
      if (map.flow || !isPlainMap(value)) return `${before} ${inlineYaml(value)}${rest}`;
      const [line, after] = splitLine(rest);
      const lines = this.#indented(this.#columnOf(key) + this.#indent, entryLines(value));
      return `${before}${line}${line === '' || line.endsWith('\n') ? '' : this.#eol}${line === '' ? this.#eol : ''}${lines}${after}`;
    }
    if (!node.range || !isScalar(node))
      return isMap(node) || isSeq(node) ? this.#replaceCollection(node, value) : undefined;
    const end = node.range[1];
    const tail = this.#text[end - 1] === '\n' ? this.#eol : '';
    return `${this.#text.slice(0, node.range[0])}${inlineYaml(value)}${tail}${this.#text.slice(end)}`;
  }

  #replaceCollection(node: YAMLMap | YAMLSeq, value: YamlValue): string | undefined {
    if (!node.range) return undefined;
    // A block begins on a line of its own; what replaces it belongs behind the colon.
    const start = node.flow ? node.range[0] : this.#text.slice(0, node.range[0]).trimEnd().length;
    const end = node.flow ? node.range[1] : leafEnd(node);
    return `${this.#text.slice(0, start)}${node.flow ? '' : ' '}${inlineYaml(value)}${this.#text.slice(end)}`;
  }

  #insertPair(map: YAMLMap, parents: readonly string[], key: string, value: YamlValue): string | undefined {
    const entry = `${inlineYaml(key)}: ${inlineYaml(value)}`;
    const before = this.#predecessor(map, parents, key);
    if (map.flow) return insertIntoFlow(this.#text, map, before, entry, this.#eol);
    if (parents.length === 0) return this.#appendSection([key], value);
    const first = map.items[0]?.key as Node | undefined;
    if (!first?.range) return undefined;
    const column = this.#columnOf(first);
    const at = before ? this.#afterEntry(before, column) : lineStart(this.#text, first.range[0]);
    // The first entry of a list's item stands behind its dash.
    if (!before && this.#text.slice(at, first.range[0]).trim() !== '') return undefined;
    return this.#insertLines(at, this.#indented(column, [entry]));
  }

  /** The entry that this key comes after, in the order of the schema; nothing where it comes first. */
  #predecessor(map: YAMLMap, parents: readonly string[], key: string): Node | undefined {
    const schema = schemaAt(configSchema, parents);
    const order = Object.keys(schema ? shapeOf(schema) : {});
    const index = order.indexOf(key);
    const known = index < 0 ? order : order.slice(0, index);
    const pair = map.items.findLast((item) => isScalar(item.key) && known.includes(String(item.key.value)));
    return pair && lastNode(pair);
  }

  #appendSection([key = '', ...rest]: readonly string[], value: YamlValue): string | undefined {
    const nested = nest(rest, value);
    const lines = isPlainMap(nested)
      ? `${inlineYaml(key)}:${this.#eol}${this.#indented(this.#indent, entryLines(nested))}`
      : `${inlineYaml(key)}: ${inlineYaml(nested)}${this.#eol}`;
    return this.#appendLines(lines);
  }

  #appendLines(lines: string): string {
    // Behind the end marker another document would begin.
    const marker = /^\.\.\.[ \t]*\r?$/m.exec(this.#text)?.index ?? this.#text.length;
    const before = this.#text.slice(0, marker);
    const gap = before.trim() === '' || /\n[ \t]*\r?\n$/.test(before) ? '' : this.#eol;
    return `${before}${before === '' || before.endsWith('\n') ? '' : this.#eol}${gap}${lines}${this.#text.slice(marker)}`;
  }

  #without(parents: readonly string[], key: string): string | undefined {
    let map: Node | null = this.#document.root;
    for (const step of parents) map = isMap(map) ? ((pairOf(map, step)?.value as Node | null) ?? null) : null;
    if (!isMap(map)) return undefined;
    const pair = pairOf(map, key);
    const start = (pair?.key as Node | undefined)?.range?.[0];
    if (!pair || start === undefined) return undefined;
    const end = leafEnd(lastNode(pair));
    if (map.flow) return cutFromFlow(this.#text, start, end);
    const column = this.#columnOf(pair.key as Node);
    const from = lineStart(this.#text, start);
    if (this.#text.slice(from, start).trim() !== '') return undefined;
    const [line, after] = this.#text[end - 1] === '\n' ? ['', this.#text.slice(end)] : splitLine(this.#text.slice(end));
    const comments = commentsOf(this.#text.slice(start, end) + line);
    return `${this.#text.slice(0, from)}${this.#indented(column, comments)}${after}`;
  }

  #withItem(path: readonly string[], item: { readonly [key: string]: YamlValue | undefined }): string | undefined {
    const { root } = this.#document;
    const [key = ''] = path;
    const pair = isMap(root) ? pairOf(root, key) : undefined;
    if (!pair) {
      const block = `${key}:${this.#eol}${this.#itemLines(this.#indent, this.#indent + 2, item)}`;
      return isMap(root) && root.flow ? this.#insertPair(root, [], key, [item]) : this.#appendLines(block);
    }
    const list = pair.value as Node | null;
    const inFlow = (root as YAMLMap).flow === true;
    if (list === null || isNull(list))
      return inFlow ? this.#replaceValue(pair, [item], root as YAMLMap) : this.#firstItem(pair, item);
    if (!isSeq(list) || !list.range) return undefined;
    if (!inFlow && /^\[\s*\]$/.test(this.#text.slice(list.range[0], list.range[1]))) return this.#firstItem(pair, item);
    const last = list.items.at(-1) as Node | undefined;
    if (list.flow) return insertIntoFlow(this.#text, list, last, inlineYaml(item), this.#eol);
    if (!last?.range) return undefined;
    const column = this.#columnAt(list.range[0]);
    const firstKey = isMap(last) && !last.flow ? (last.items[0]?.key as Node | undefined) : undefined;
    const keyColumn = Math.max(firstKey ? this.#columnOf(firstKey) : 0, column + 2);
    const before = list.items.at(-2) as Node | undefined;
    const spaced = before?.range && /\n[ \t]*\r?\n/.test(this.#text.slice(leafEnd(before) - 1, last.range[0]));
    return this.#insertLines(
      this.#afterEntry(last, column),
      `${spaced ? this.#eol : ''}${this.#itemLines(column, keyColumn, item)}`,
    );
  }

  /** Turns `skills:`, `skills: null` and `skills: []` into a list with one item; a comment on the line stays there. */
  #firstItem(pair: Pair, item: { readonly [key: string]: YamlValue | undefined }): string | undefined {
    const key = pair.key as Node;
    const node = pair.value as Node | null;
    const colon = key.range ? this.#text.indexOf(':', key.range[1]) : -1;
    if (colon < 0) return undefined;
    const start = node?.range?.[0] ?? colon + 1;
    const head = this.#text.slice(0, Math.max(start, colon + 1)).replace(/[ \t]+$/, '');
    const [line, after] = splitLine(this.#text.slice(Math.max(node?.range?.[1] ?? 0, colon + 1)));
    const rest = line.trimEnd() === '' ? '' : ` ${line.trim()}`;
    const column = this.#columnOf(key) + this.#indent;
    return `${head}${rest}${this.#eol}${this.#itemLines(column, column + 2, item)}${after}`;
  }

  #itemLines(column: number, keyColumn: number, item: { readonly [key: string]: YamlValue | undefined }): string {
    const [first = '', ...others] = entryLines(item);
    const dash = `-${' '.repeat(keyColumn - column - 1)}${first}`;
    return this.#indented(column, [dash]) + this.#indented(keyColumn, others);
  }

  #insertLines(at: number, lines: string): string {
    const before = this.#text.slice(0, at);
    return `${before}${before === '' || before.endsWith('\n') ? '' : this.#eol}${lines}${this.#text.slice(at)}`;
  }

  /** Where the line after an entry begins, past comments that are indented as parts of it. */
  #afterEntry(node: Node, column: number): number {
    const end = leafEnd(node);
    let at = this.#text[end - 1] === '\n' ? end : lineEnd(this.#text, end);
    for (;;) {
      const comment = /^(?:[ \t]*\r?\n)*([ \t]*)#[^\n]*(?:\n|$)/.exec(this.#text.slice(at));
      if (!comment || (comment[1] ?? '').length <= column) return at;
      at += comment[0].length;
    }
  }

  #indented(column: number, lines: readonly string[]): string {
    return lines.map((line) => `${' '.repeat(column)}${line}${this.#eol}`).join('');
  }

  /** How far sections of this file are indented. */
  get #indent(): number {
    const { root } = this.#document;
    if (!isMap(root)) return 2;
    for (const { value } of root.items) {
      const first = isMap(value) && !value.flow ? (value.items[0]?.key as Node | undefined) : undefined;
      if (first) return Math.max(1, this.#columnOf(first));
    }
    return 2;
  }

  #columnOf(node: Node): number {
    return this.#columnAt(node.range?.[0] ?? 0);
  }

  #columnAt(offset: number): number {
    return offset - lineStart(this.#text, offset);
  }
}

function read(text: string): ConfigDocument {
  const document = new ConfigDocument(text);
  const { problems } = yamlProblems(document);
  const { root } = document;
  if (problems.length > 0 || (root !== null && !isMap(root) && !isNull(root))) {
    const none = { code: 'WRONG_TYPE' as const, path: [], message: 'the file must be a map of keys and values' };
    const findings = (problems.length > 0 ? problems : [none]).map((problem) => document.finding(problem));
    throw configInvalid('the configuration', findings);
  }
  valuesOf(document);
  return document;
}

function valuesOf(document: ConfigDocument): Values {
  try {
    return (document.documents[0]?.toJS() as Values | null | undefined) ?? {};
  } catch (cause) {
    const problem = {
      code: 'YAML_ALIAS' as const,
      path: [],
      message: 'an alias has no anchor, or grows beyond measure',
    };
    throw configInvalid('the configuration', [document.finding(problem)], undefined, cause);
  }
}

function define(target: Values, key: string, value: unknown): Values {
  Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true });
  return value as Values;
}

/** `{ a: { b: value } }` for the steps `a`, `b`. */
function nest(steps: readonly string[], value: YamlValue): YamlValue {
  return steps.reduceRight<YamlValue>((inner, step) => ({ [step]: inner }), value);
}

function isPlainMap(value: YamlValue): value is { readonly [key: string]: YamlValue | undefined } {
  return typeof value === 'object' && !Array.isArray(value);
}
