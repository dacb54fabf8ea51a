import { describe, expect, it } from 'vitest';
import { styleFor, wantsColour } from '../../src/cli/style.js';
import { table } from '../../src/cli/table.js';

describe('wantsColour', () => {
  it.each([
    [{ isTTY: true }, {}, true],
    [{}, {}, false],
    [{ isTTY: true }, { NO_COLOR: '1' }, false],
    [{ isTTY: true }, { NO_COLOR: '' }, true],
    [{ isTTY: true }, { TERM: 'dumb' }, false],
    [{}, { FORCE_COLOR: '1' }, true],
    [{}, { FORCE_COLOR: '' }, true],
    [{ isTTY: true }, { FORCE_COLOR: '0' }, false],
  ])('%j %j: %s', (stream, env, wanted) => {
    expect(wantsColour(stream, env)).toBe(wanted);
  });

  it('leaves text alone where colours are off', () => {
    expect(styleFor(false).red('x')).toBe('x');
    expect(styleFor(true).red('x')).toBe('\u001b[31mx\u001b[39m');
  });
});

describe('table', () => {
  it('lines columns up by what a terminal shows', () => {
    expect(
      table([
        ['id', 'name'],
        ['\u001b[31mab\u001b[39m', '日本'],
        ['日本', 'x'],
      ]),
    ).toBe(['id    name', '\u001b[31mab\u001b[39m    日本', '日本  x'].join('\n'));
  });
});
