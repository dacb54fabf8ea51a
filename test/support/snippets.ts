import { readFile } from 'node:fs/promises';

export interface Snippet {
  readonly language: string;
  readonly code: string;
  /** Line of the document on which it begins, from 1. */
  readonly line: number;
}

/** The fenced blocks of a Markdown document, in order. */
export async function snippetsOf(file: string): Promise<Snippet[]> {
  const text = await readFile(file, 'utf8');
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(({ 1: language = '', 2: code = '', index }) => ({
    language,
    code,
    line: text.slice(0, index).split('\n').length,
  }));
}
