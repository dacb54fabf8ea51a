import { describe, expect, it } from 'vitest';
import { exitCodeOf } from '../../src/cli/exit-codes.js';
import { AgentUpError, type ErrorCode } from '../../src/errors.js';

describe('exitCodeOf', () => {
  it.each<[ErrorCode, number]>([
    ['USAGE', 2],
    ['CONFIG_NOT_FOUND', 3],
    ['FILE_CONFLICT', 4],
    ['CANCELLED', 130],
    ['CONFIG_INVALID', 1],
    ['STORAGE_UNAVAILABLE', 1],
  ])('ends with %s as %i', (code, status) => {
    expect(exitCodeOf(new AgentUpError(code, 'x'))).toBe(status);
  });

  it('ends with 1 for anything else', () => {
    expect(exitCodeOf(new Error('x'))).toBe(1);
    expect(exitCodeOf('x')).toBe(1);
  });
});
