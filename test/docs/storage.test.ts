import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import * as kit from '../../src/storage/index.js';

const EXAMPLE = 'examples/sqlite-storage/sqlite-storage.ts';

it('docs/storage.md shows the SQLite example as it is, all of it, in less than 150 lines', async () => {
  const code = await readFile(EXAMPLE, 'utf8');
  expect(code.split('\n').length - 1).toBeLessThan(150);
  expect(await readFile('docs/storage.md', 'utf8')).toContain(`<!-- ${EXAMPLE} -->\n\`\`\`ts\n${code}\`\`\`\n`);
});

it('the example needs nothing of the package but what it publishes', async () => {
  const imported = [...(await readFile(EXAMPLE, 'utf8')).matchAll(/ from '([^']+)'/g)].map(([, from]) => from);
  expect(imported.filter((from) => from?.includes('agentup'))).toEqual(['agentup', 'agentup/storage']);
  expect(imported.filter((from) => from?.startsWith('.'))).toEqual([]);
});

it('docs/storage.md names helpers that exist', async () => {
  const text = await readFile('docs/storage.md', 'utf8');
  const table = text.slice(text.indexOf('## Helpers'), text.indexOf('## A whole one'));
  const cells = [...table.matchAll(/^\| (`[^|]*) \|/gm)].map(([, cell = '']) => cell);
  const names = cells.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name));
  expect(names.length).toBeGreaterThan(20);
  expect(names.filter((name) => !(name in kit) && name !== 'EmbeddedStore')).toEqual([]);
});
