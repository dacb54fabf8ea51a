/** Where the line around an offset begins. */
export function lineStart(text: string, offset: number): number {
  return offset === 0 ? 0 : text.lastIndexOf('\n', offset - 1) + 1;
}

/** Where the next line begins, or the text ends. */
export function lineEnd(text: string, offset: number): number {
  const newline = text.indexOf('\n', offset);
  return newline < 0 ? text.length : newline + 1;
}

/** The first line with its end, and what follows. */
export function splitLine(text: string): [line: string, after: string] {
  const end = lineEnd(text, 0);
  return [text.slice(0, end), text.slice(end)];
}
