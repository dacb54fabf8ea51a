import { describe, expect, it } from 'vitest';
import { Words } from '../../../src/storage/valkey/words.js';

describe('Words', () => {
  it('reads words and numbers, empty words too', () => {
    const words = new Words('12 1795000000000 -3 none  x');
    expect([words.number(), words.number(), words.number(), words.next(), words.next()]).toEqual([
      12,
      1_795_000_000_000,
      -3,
      'none',
      '',
    ]);
    expect(words.ended).toBe(false);
    expect(words.next()).toBe('x');
    expect(words.ended).toBe(true);
    expect(words.next()).toBe('');
  });

  it('has not ended while an empty word is left', () => {
    const words = new Words('7 ');
    expect(words.number()).toBe(7);
    expect(words.ended).toBe(false);
    expect(words.next()).toBe('');
    expect(words.ended).toBe(true);
  });

  it('keeps the largest integers exact', () => {
    const words = new Words('9007199254740991 -9007199254740991');
    expect(words.number()).toBe(Number.MAX_SAFE_INTEGER);
    expect(words.number()).toBe(Number.MIN_SAFE_INTEGER);
  });

  it.each(['', ' ', '-', 'x1', '1x', '1.5', '--1'])('takes %j for no number', (text) => {
    expect(new Words(text).number()).toBeNaN();
  });
});
