import { afterEach, expect, it, vi } from 'vitest';
import { stderrLogger } from '../src/logger.js';

afterEach(() => {
  vi.restoreAllMocks();
});

it('writes whatever was thrown, also what JSON cannot hold', () => {
  const written: string[] = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => written.push(String(text)) > 0);
  const logger = stderrLogger('warn');
  const cyclic: Record<string, unknown> = { name: 'cycle' };
  cyclic['self'] = cyclic;
  for (const thrown of [10n, undefined, cyclic, Symbol('odd'), { a: 1 }]) logger.error('a turn failed', thrown);
  expect(written.map((line) => line.split('\n')[0])).toEqual([
    'error: a turn failed 10n',
    'error: a turn failed undefined',
    expect.stringContaining("name: 'cycle'"),
    'error: a turn failed Symbol(odd)',
    'error: a turn failed {"a":1}',
  ]);
});
