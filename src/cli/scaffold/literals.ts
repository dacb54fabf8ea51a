/** Characters that do not show, or that turn the reading direction: written as escapes, so that source says what it does. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

/** A TypeScript string literal, single quotes, for any text. */
export function tsString(text: string): string {
  const body = text
    .replace(/[\\']/g, '\\$&')
    .replace(INVISIBLE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
  return `'${body}'`;
}

/** A text for Markdown, with nothing in it that Markdown would act on. */
export function markdownText(text: string): string {
  return text.replace(/[\\`*_{}[\]()#+\-.!|<>&~$]/g, '\\$&');
}
