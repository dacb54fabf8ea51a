import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';

/** What a handler is given: their methods are looked up in the editor, each by itself, overloads too. */
it.each(['src/conversation/conversation-context.ts', 'src/conversation/conversation.ts'])(
  'every method of %s says what it does',
  async (file) => {
    const lines = (await readFile(file, 'utf8')).split('\n');
    const undocumented = lines.filter((line, index) => {
      const isMethod = /^ {2}(?:async )?\*?(?!constructor|if|for|get )[a-z]\w*[<(]/.test(line);
      const before = lines[index - 1] ?? '';
      // The signature of an implementation is behind those of its overloads, and nobody sees it.
      return isMethod && !before.endsWith('*/') && !/^ {2}\w+<T>\(.*;$/.test(before);
    });
    expect(lines.length).toBeGreaterThan(100);
    expect(undocumented).toEqual([]);
  },
);
