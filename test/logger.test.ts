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

it('lets no id that a caller has chosen look like a line of its own, or tell the terminal what to do', () => {
  const written: string[] = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => written.push(String(text)) > 0);
  const error = new Error('first\nsecond \u001b[2J');
  stderrLogger('warn').error(error, 'a turn of a\r\nerror: forged \u001b[31m failed');
  const [line = ''] = written;
  expect(line).toMatch(
    /^error: a turn of a\\u000d\\u000aerror: forged \\u001b\[31m failed Error: first\nsecond \\u001b/,
  );
  expect(line).not.toContain('\u001b');
});
