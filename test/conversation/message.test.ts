import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.js';
import { decodeMessages, encodeMessage, type Role } from '../../src/conversation/message.js';
import { SEALED } from '../../src/json.js';

const at = '2026-01-02T03:04:05.678Z';
const clock = { now: () => Date.parse(at) };
const roles: Role[] = ['user', 'assistant', 'system', 'tool'];

describe('stored messages', () => {
  it('come back as they were said, whatever the text', () => {
    const text = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.string({ unit: 'binary' }),
      fc.constantFrom('', '"', '\\', '","timestamp":"', '"}', '{"role":"user"', '\n', '\u0001enc1.', '\ud800'),
    );
    fc.assert(
      fc.property(fc.constantFrom(...roles), text, (role, content) => {
        const token = encodeMessage(role, content, undefined, clock);
        expect(decodeMessages([token])).toEqual([{ role, content, timestamp: at }]);
        expect(JSON.parse(token)).toEqual({ role, content, timestamp: at });
      }),
    );
  });

  it('are what JSON says where somebody else has written them', () => {
    // Parts of which texts arise that look like ours up to somewhere.
    const part = fc.constantFrom(
      '{"role":"user","content":"',
      '{"role":"assistant","content":"',
      '{"role":"user", "content":"',
      '{"role":"owner","content":"',
      '{"content":"a","role":"user',
      'hi',
      '\\"',
      '\\\\',
      '\\u0041',
      '","timestamp":"',
      '","metadata":{"a":"',
      '"},"timestamp":"',
      at,
      '2026',
      '2026","a":"bcdefghijklmn',
      '"}',
      '"}}',
      ' ',
    );
    let valid = 0;
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 8 }), (parts) => {
        const token = parts.join('');
        const parsed = parsedOrNot(token);
        if (parsed === undefined) return;
        valid++;
        expect(decodeMessages([token])).toEqual([parsed]);
      }),
      { numRuns: 60_000, seed: 1 },
    );
    expect(valid).toBeGreaterThan(100);
  });

  it.each([
    `{"role":"user","content":"hi","timestamp":"2026","a":"bcdefghijklmn"}`,
    `{"role":"user","content":"hi\\"","timestamp":"${at}"}`,
    `{"role":"user","content":"hi","timestamp":"${at}"} `,
    `{"role":"user","content":{"a":"hi"},"timestamp":"${at}"}`,
    `{"role":"user","content":"a","content":"hi","timestamp":"${at}"}`,
    `{"role":"tool","content":"","timestamp":"${at}"}`,
    `{"rule":"user","content":"hi","timestamp":"${at}"}`,
    `{"role":"usher","content":"x","timestamp":"${at}"}`,
    `{"role":"user","content":"hi","timestomp":"${at}"}`,
    `{"role":"tool","content":"","timestamp":"\\u0032026-01-02T03:04:05"}`,
    `{"role":"user","content":"hi","timestamp":"${at}","metadata":{"a":1}}`,
  ])('reads %s as JSON does', (token) => {
    expect(decodeMessages([token])).toEqual([JSON.parse(token)]);
  });

  it.each([
    `{"role":"user","content":"hi","timestamp":"${at}"`,
    `{"role":"user","content":"hi","timestamp":"${at}"]`,
    `{"role":"user","content":"hi","timestamp":"${at}" `,
    `{"role":"user","content":"hi"'"timestamp":"${at}"}`,
  ])('are refused where they are damaged: %s', (token) => {
    expect(() => decodeMessages([token])).toThrow(SyntaxError);
  });

  it('are private copies', () => {
    const token = encodeMessage('user', 'hi', undefined, systemClock);
    const [first, second] = [...decodeMessages([token]), ...decodeMessages([token])];
    expect(first).not.toBe(second);
  });

  it('need the key where they are encrypted', () => {
    const plain = encodeMessage('user', 'hi', undefined, clock);
    expect(() => decodeMessages([plain, `${SEALED}abc"`])).toThrow(expect.objectContaining({ code: 'KEY_MISSING' }));
  });
});

function parsedOrNot(token: string): unknown {
  try {
    return JSON.parse(token);
  } catch {
    return undefined;
  }
}
