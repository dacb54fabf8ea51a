import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { afterAll, describe, it } from 'vitest';
import { storageConformance } from '../../src/testing/index.js';
import { TestClock } from '../support/test-clock.js';
import { TableStorage } from './fixtures/table-storage.js';

const clock = new TestClock();
const open = async () => new TableStorage(new Map(), () => clock.now());
storageConformance(
  { name: 'the backend of docs/storage.md', open, advance: async (ms) => clock.advance(ms) },
  { describe, it, afterAll },
);

it('docs/storage.md shows it as it is', () => {
  const text = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
  const shown = [...text('../../docs/storage.md').matchAll(/<!-- from table-storage\.ts -->\n```ts\n(.*?)```/gs)];
  assert.ok(shown.length > 0);
  for (const [, code] of shown) assert.ok(text('fixtures/table-storage.ts').includes(code as string), code);
});
