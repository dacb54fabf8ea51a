import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toIso } from '../src/clock.js';

const LAST = 8.64e15;

describe('a moment as text', () => {
  it('is what Date makes of it', () => {
    const days = fc.integer({ min: -1e8, max: 1e8 - 1 });
    const moments = fc.oneof(
      fc.integer({ min: -LAST, max: LAST }),
      fc.integer({ min: -2e12, max: 5e12 }),
      fc
        .tuple(days, fc.constantFrom(0, 1, 9, 10, 99, 100, 999, 59_999, 3_599_999, 86_399_999))
        .map(([day, ms]) => day * 86_400_000 + ms),
      fc.double({ min: -2e12, max: 5e12, noNaN: true }),
    );
    fc.assert(
      fc.property(moments, moments, (one, other) => {
        // The second may be of the same day as the first, or of another.
        for (const moment of [one, other, one + 1]) {
          if (Math.abs(moment) <= LAST) expect(toIso(moment)).toBe(new Date(moment).toISOString());
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([0, -0, -1, -0.5, -1.5, 951_782_400_000, LAST, -LAST])('also of %d', (moment) => {
    expect(toIso(moment)).toBe(new Date(moment).toISOString());
  });

  it('is refused where there is no such moment', () => {
    toIso(LAST);
    for (const none of [Number.NaN, Number.POSITIVE_INFINITY, LAST + 1, -LAST - 1]) {
      expect(() => toIso(none)).toThrow(RangeError);
    }
  });
});
