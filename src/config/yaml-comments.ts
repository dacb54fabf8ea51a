import { Lexer } from 'yaml';

/** The comments of a text, in their order. */
export function commentsOf(text: string): string[] {
  return [...new Lexer().lex(text)].filter((token) => token.startsWith('#')).map((token) => token.trimEnd());
}

/** Are all of the comments still there? */
export function keepsAll(before: readonly string[], after: readonly string[]): boolean {
  const left = [...after];
  return before.every((comment) => {
    const index = left.indexOf(comment);
    if (index >= 0) left.splice(index, 1);
    return index >= 0;
  });
}
