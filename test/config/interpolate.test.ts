import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { escapeInterpolation, interpolate } from '../../src/config/index.js';

const env = { NAME: 'value', EMPTY: '', A: '1', B: '2', _x9: 'odd' };
const textOf = (text: string) => interpolate(text, env).text;
const codesOf = (text: string) => interpolate(text, env).problems.map(({ code }) => code);

describe('interpolate', () => {
  it.each([
    ['plain', 'plain'],
    ['${NAME}', 'value'],
    ['a ${NAME} b ${A}${B} c', 'a value b 12 c'],
    ['${_x9}', 'odd'],
    ['${EMPTY}', ''],
    ['${EMPTY:default}', ''],
    ['${NONE:default}', 'default'],
    ['${NONE:}', ''],
    ['${NONE:valkey://localhost:6379}', 'valkey://localhost:6379'],
    ['${NAME:default}', 'value'],
    ['${NONE:a ${NAME} b}', 'a value b'],
    ['${NONE:${ALSO:deep}}', 'deep'],
    ['${NAME:${MISSING}}', 'value'],
    ['${N:-1}', '-1'],
    ['$${NAME}', '${NAME}'],
    ['$$${NAME}', '$${NAME}'],
    ['$$$${NAME}', '$$${NAME}'],
    ['a $ b $$ c {} }', 'a $ b $$ c {} }'],
    ['$NAME', '$NAME'],
    ['${NONE:a $${b} c}', 'a ${b c}'],
    ['${NONE:line one\nline two}', 'line one\nline two'],
  ])('%j gives %j', (text, expected) => {
    expect(interpolate(text, env)).toMatchObject({ text: expected, problems: [] });
  });

  it('names every variable that is not set', () => {
    const { problems } = interpolate('${X} ${NAME} ${Y} ${X}', env);
    expect(problems.map(({ code, piece }) => [code, piece])).toEqual([
      ['ENV_UNSET', '${X}'],
      ['ENV_UNSET', '${Y}'],
    ]);
    expect(problems[0]?.fix).toBe('set X, or give a default: ${X:default}');
    expect(codesOf('${NONE:${ALSO}}')).toEqual(['ENV_UNSET']);
    expect(codesOf('${toString}')).toEqual(['ENV_UNSET']);
    expect(codesOf('${__proto__}')).toEqual(['ENV_UNSET']);
  });

  it.each([
    '${',
    '${NAME',
    '${}',
    '${1X}',
    '${a-b}',
    '${a b}',
    '${ NAME }',
    '${NONE:open',
    '${A${B}}',
    '${NONE:${NONE:x}',
  ])('refuses %j', (text) => {
    expect(codesOf(text)).toContain('ENV_SYNTAX');
  });

  it('warns of a default in the manner of a shell', () => {
    expect(codesOf('${NONE:-default}')).toEqual(['ENV_DASH']);
    expect(codesOf('${NAME:-default}')).toEqual(['ENV_DASH']);
  });

  it('knows whether anything came from outside', () => {
    expect(interpolate('${NONE:5}', env).replaced).toBe(true);
    expect(interpolate('5', env).replaced).toBe(false);
    expect(interpolate('$${NAME}', env).replaced).toBe(false);
  });

  it('gives any text back that was escaped', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(fc.constantFrom('$', '{', '}', 'NAME', ':', '${', '$${')).map((parts) => parts.join('')),
    );
    fc.assert(fc.property(text, (given) => void expect(textOf(escapeInterpolation(given))).toBe(given)));
  });

  it('takes any text in little time, and leaves what has no reference', () => {
    const text = fc
      .array(fc.constantFrom('$', '{', '}', 'NAME', ':', '${', '$${', '${A:', 'x'), { maxLength: 60 })
      .map((parts) => parts.join(''));
    fc.assert(fc.property(text, (given) => void interpolate(given, env)));
    for (const piece of ['${', '${A:', '${X:', '$${', '${X:${', '}', '${X}']) {
      const started = performance.now();
      interpolate(piece.repeat(20_000), env);
      expect(performance.now() - started).toBeLessThan(2000);
    }
  });
});
