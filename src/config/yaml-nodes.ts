import { isMap, isScalar, isSeq, type Node, type Pair, type YAMLMap } from 'yaml';

/** Nothing, `null` or `~`. */
export function isNull(node: Node): boolean {
  return isScalar(node) && node.value === null;
}

/** The entry of a map with this key of its own. */
export function pairOf(map: YAMLMap, key: string): Pair | undefined {
  return map.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === key);
}

/** The node an entry ends with. */
export function lastNode(pair: Pair): Node {
  const value = pair.value as Node | null;
  return value?.range ? value : (pair.key as Node);
}

/** Where the last character of a node is: of a block collection, that of its last entry. */
export function leafEnd(node: Node): number {
  if ((isMap(node) || isSeq(node)) && !node.flow && node.items.length > 0) {
    const last = node.items.at(-1);
    return leafEnd(isMap(node) ? lastNode(last as Pair) : (last as Node));
  }
  return node.range?.[1] ?? 0;
}
