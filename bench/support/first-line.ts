/** What went wrong, in one line. */
export function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';
}

/** Some libraries explain at length. */
export function shortened(text: string): string {
  return text.length <= 50 ? text : `${text.slice(0, 49)}…`;
}
