import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { markdownText, tsString } from '../../../src/cli/scaffold/literals.js';
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

  it('leaves nothing for Markdown to act on', () => {
    expect(markdownText('a *b* `c` <d>')).toBe('a \\*b\\* \\`c\\` \\<d\\>');
  });
});
