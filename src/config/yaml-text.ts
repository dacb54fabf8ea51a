/** Characters that do not show, or that break lines: written as escapes. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const PLAIN = /^(?:\.{0,2}\/)?[A-Za-z_][\w./-]*$/;
/** Words that YAML, also an older one, reads as something else. */
const WORD_WITH_MEANING = /^(?:null|true|false|yes|no|on|off|y|n)$/i;

/** What a configuration holds, as far as it is written by programs. */
export type YamlValue =
  | string
  | number
  | boolean
  | readonly YamlValue[]
  | { readonly [key: string]: YamlValue | undefined };

/** A value on one line, as YAML reads it back, also inside `{ }` and `[ ]`. Entries without a value are left out. */
export function inlineYaml(value: YamlValue): string {
  if (typeof value === 'string') return scalar(value);
  if (typeof value !== 'object') return String(value);
  if (Array.isArray(value)) return `[${value.map(inlineYaml).join(', ')}]`;
  const entries = entriesOf(value as Record<string, YamlValue | undefined>);
  return entries.length === 0
    ? '{}'
    : `{ ${entries.map(([key, item]) => `${scalar(key)}: ${inlineYaml(item)}`).join(', ')} }`;
}

/** The entries of a map, each on a line of its own, without indentation. */
export function entryLines(value: { readonly [key: string]: YamlValue | undefined }): string[] {
  return entriesOf(value).map(([key, item]) => `${scalar(key)}: ${inlineYaml(item)}`);
}

function entriesOf(value: { readonly [key: string]: YamlValue | undefined }): [string, YamlValue][] {
  return Object.entries(value).filter((entry): entry is [string, YamlValue] => entry[1] !== undefined);
}

/** Without quotes where YAML reads the same text back, else in double ones, whose JSON form is YAML. */
function scalar(text: string): string {
  if (PLAIN.test(text) && !WORD_WITH_MEANING.test(text)) return text;
  return JSON.stringify(text).replace(INVISIBLE, (character) =>
    Array.from(
      { length: character.length },
      (_, index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}
