import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { escapeInterpolation, markdownText, tsString, yamlScalar, yamlString } from '../../../src/cli/scaffold/literals.js';
import { NASTY_NAMES } from '../nasty-names.js';

/** What JavaScript reads in a literal. */
const evaluate = (literal: string): unknown => new Function(`'use strict'; return ${literal};`)();

describe('literals', () => {
  it('reads back as the same text in TypeScript', () => {
    for (const name of NASTY_NAMES) expect(evaluate(tsString(name))).toBe(name);
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => evaluate(tsString(text)) === text));
  });

  it('shows what does not show', () => {
    expect(tsString('a\u202Eb')).toBe("'a\\u{202e}b'");
  });

  it('reads back as the same text in YAML, without environment variables', () => {
    for (const name of NASTY_NAMES) expect(parse(`a: ${yamlString(name)}`)).toEqual({ a: escapeInterpolation(name) });
    expect(escapeInterpolation('${HOME}')).toBe('$${HOME}');
  });

  it('quotes in YAML what would be something else', () => {
    for (const text of ['null', 'true', 'No', '1', '1e3', '.5', 'a: b', '${X:y}', '', '~', 'a,b', './ok', 'plain']) {
      expect(parse(`{ a: ${yamlScalar(text)}, b: 1 }`)).toEqual({ a: text, b: 1 });
    }
    expect(yamlScalar('./conversation_states')).toBe('./conversation_states');
  });

  it('leaves nothing for Markdown to act on', () => {
    expect(markdownText('a *b* `c` <d>')).toBe('a \\*b\\* \\`c\\` \\<d\\>');
  });
});
