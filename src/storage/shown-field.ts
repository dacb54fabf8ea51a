/** What the faces above a storage put before the names of their users. */
const KINDS = [
  ['var:', 'the variable'],
  ['meta:', 'the metadata entry'],
  ['.', 'the field'],
] as const;

/** A field in a sentence, by the name that its user gave it. */
export function shownField(field: string): string {
  const [prefix, kind] = kindOf(field) ?? ['', 'the field'];
  return `${kind} ${JSON.stringify(field.slice(prefix.length))}`;
}

/** That name alone. */
export function plainField(field: string): string {
  return field.slice(kindOf(field)?.[0].length ?? 0);
}

function kindOf(field: string): (typeof KINDS)[number] | undefined {
  return KINDS.find(([prefix]) => field.startsWith(prefix));
}
