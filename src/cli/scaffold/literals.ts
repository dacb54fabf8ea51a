/** Characters that do not show, or that turn the reading direction: written as escapes, so that source says what it does. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

/** A TypeScript string literal, single quotes, for any text. */
export function tsString(text: string): string {
  const body = text
    .replace(/[\\']/g, '\\$&')
    .replace(INVISIBLE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
  return `'${body}'`;
}

/** A YAML scalar in double quotes, for any text; `${` is kept from being taken for an environment variable. */
export function yamlString(text: string): string {
  return JSON.stringify(escapeInterpolation(text));
}

/** A YAML scalar, without quotes where YAML reads the same text back. `${NAME}` keeps its meaning. */
export function yamlScalar(text: string): string {
  const plain = /^(?:\.\/)?[A-Za-z_][\w./-]*$/.test(text) && !/^(?:null|true|false|yes|no|on|off|y|n)$/i.test(text);
  return plain ? text : JSON.stringify(text);
}

/** The same text for a configuration value, where `${NAME}` would be replaced. */
export function escapeInterpolation(text: string): string {
  return text.replaceAll('${', () => '$${');
}

/** A text for Markdown, with nothing in it that Markdown would act on. */
export function markdownText(text: string): string {
  return text.replace(/[\\`*_{}[\]()#+\-.!|<>&~$]/g, '\\$&');
}
