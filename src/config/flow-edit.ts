import { isMap, type Node, type YAMLMap, type YAMLSeq } from 'yaml';
import { lineStart, splitLine } from './lines.js';
import { lastNode } from './yaml-nodes.js';

/**
 * A text with one more entry inside `{ }` or `[ ]`: behind the node `before`, or at the beginning. Where the others
 * stand on lines of their own, so does the new one.
 */
export function insertIntoFlow(
  text: string,
  collection: YAMLMap | YAMLSeq,
  before: Node | undefined,
  entry: string,
  eol: string,
): string | undefined {
  if (!collection.range) return undefined;
  if (before?.range) return insertBehind(text, before.range[1], startOfEntry(collection, before), entry, eol);
  const [start, end] = collection.range;
  if (collection.items.length === 0 && text.slice(start + 1, end - 1).trim() === '') {
    const inside = isMap(collection) ? `{ ${entry} }` : `[${entry}]`;
    return text.slice(0, start) + inside + text.slice(end);
  }
  const rest = text.slice(start + 1).replace(/^[ \t]+/, '');
  const gap = collection.items.length > 0 ? ', ' : /^\r?\n/.test(rest) ? '' : ' ';
  return `${text.slice(0, start + 1)} ${entry}${gap}${rest}`;
}

function insertBehind(text: string, at: number, start: number, entry: string, eol: string): string {
  const indent = text.slice(lineStart(text, start), start);
  const [line, after] = splitLine(text.slice(at));
  const rest = /^(?<comma>[ \t]*,)?[ \t]*(?:#[^\n]*)?\n$/.exec(line);
  // A comment behind the entry is about it, and stays behind it.
  if (indent.trim() === '' && rest) {
    const comma = rest.groups?.['comma'] !== undefined;
    return `${text.slice(0, at)}${comma ? '' : ','}${line}${indent}${entry}${comma ? ',' : ''}${eol}${after}`;
  }
  return `${text.slice(0, at)}, ${entry}${text.slice(at)}`;
}

/** A text without the entry between two offsets inside `{ }`, with the comma behind it, or else the one before it. */
export function cutFromFlow(text: string, start: number, end: number): string {
  const behind = /^[ \t]*,[ \t]*/.exec(text.slice(end))?.[0].length ?? 0;
  const before = text.slice(0, start);
  const ownLine = before.slice(lineStart(text, start)).trim() === '';
  const head = behind > 0 || ownLine ? before : before.replace(/,?[ \t]*$/, '');
  const tail = text.slice(end + behind);
  const [line] = splitLine(tail);
  if (!ownLine) return head + tail;
  // Where nothing is left on its line, the line goes; a comment stays.
  return line.trim() === '' ? head.replace(/[ \t]*$/, '') + tail.slice(line.length) : head + tail.trimStart();
}

function startOfEntry(collection: YAMLMap | YAMLSeq, last: Node): number {
  const pair = isMap(collection) ? collection.items.find((item) => lastNode(item) === last) : undefined;
  return ((pair?.key ?? last) as Node).range?.[0] ?? 0;
}
