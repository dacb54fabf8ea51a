import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/conversation/message.js';
import { toModelMessages } from '../../src/conversation/model-messages.js';
import type { JsonValue } from '../../src/json.js';

const timestamp = '2026-01-01T00:00:00.000Z';
const said = (role: Message['role'], content: unknown, metadata?: Record<string, JsonValue>): Message<unknown> => ({
  role,
  content,
  timestamp,
  ...(metadata && { metadata }),
});
const call = (id: string, name: string, args: JsonValue = {}) => ({ id, name, arguments: args });

const round = [
  said('user', 'Where are my orders?'),
  said('assistant', '', { toolCalls: [call('1', 'order', { id: 'A' }), call('2', 'order', { id: 'B' })] }),
  said('tool', { status: 'sent' }, { toolCallId: '1', toolName: 'order' }),
  said('tool', 'no such order', { toolCallId: '2', toolName: 'order', isError: true }),
  said('assistant', 'A is on its way.'),
];

describe('a history for a model', () => {
  it('has the shape of the Chat Completions API, tool calls included', () => {
    expect(toModelMessages(round, { format: 'openai', system: 'Be kind.' })).toEqual([
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: 'Where are my orders?' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: '1', type: 'function', function: { name: 'order', arguments: '{"id":"A"}' } },
          { id: '2', type: 'function', function: { name: 'order', arguments: '{"id":"B"}' } },
        ],
      },
      { role: 'tool', tool_call_id: '1', content: '{"status":"sent"}' },
      { role: 'tool', tool_call_id: '2', content: 'no such order' },
      { role: 'assistant', content: 'A is on its way.' },
    ]);
  });

  it('has the shape of the AI SDK', () => {
    const [, calls, results] = toModelMessages(round, { format: 'ai-sdk' });
    expect(calls).toEqual({
      role: 'assistant',
      content: [
        { type: 'tool-call', toolCallId: '1', toolName: 'order', input: { id: 'A' } },
        { type: 'tool-call', toolCallId: '2', toolName: 'order', input: { id: 'B' } },
      ],
    });
    expect(results).toEqual({
      role: 'tool',
      content: [
        {
          type: 'tool-result',
          toolCallId: '1',
          toolName: 'order',
          output: { type: 'json', value: { status: 'sent' } },
        },
        {
          type: 'tool-result',
          toolCallId: '2',
          toolName: 'order',
          output: { type: 'error-text', value: 'no such order' },
        },
      ],
    });
  });

  it("takes arguments in the model's own text: as they are for one API, as what they say for the other", () => {
    const calls = ['{"id":"A"}', '{"id":'].map((text, n) => ({ id: `${n}`, name: 'order', arguments: text }));
    const history = [
      said('assistant', '', { toolCalls: calls }),
      said('tool', 'sent', { toolCallId: '0' }),
      said('tool', 'that is no JSON', { toolCallId: '1' }),
    ];
    expect(toModelMessages(history, { format: 'openai' })[0]).toMatchObject({
      tool_calls: [{ function: { arguments: '{"id":"A"}' } }, { function: { arguments: '{"id":' } }],
    });
    expect(toModelMessages(history, { format: 'ai-sdk' })[0]).toMatchObject({
      content: [{ input: { id: 'A' } }, { input: '{"id":' }],
    });
  });

  it('has no half of a call: neither a result that lost its call, nor a call that lost its result', () => {
    const history = [
      said('tool', 'cut off', { toolCallId: '0' }),
      said('assistant', 'I look.', { toolCalls: [call('1', 'a'), call('2', 'b')] }),
      said('tool', 'one', { toolCallId: '1' }),
      said('user', 'And?'),
      said('tool', 'too late', { toolCallId: '2' }),
      said('assistant', '', { toolCalls: [call('3', 'c')] }),
    ];
    expect(toModelMessages(history, { format: 'openai' })).toEqual([
      {
        role: 'assistant',
        content: 'I look.',
        tool_calls: [{ id: '1', type: 'function', function: { name: 'a', arguments: '{}' } }],
      },
      { role: 'tool', tool_call_id: '1', content: 'one' },
      { role: 'user', content: 'And?' },
    ]);
    expect(toModelMessages(history, { format: 'ai-sdk' })).toMatchObject([
      { content: [{ type: 'text', text: 'I look.' }, { toolCallId: '1' }] },
      { content: [{ toolCallId: '1' }] },
      { content: 'And?' },
    ]);
  });

  it('gives what is no text as JSON, and keeps empty messages that called nothing', () => {
    const history = [said('user', { a: [1] }), said('assistant', ''), said('system', 'From now on in French.')];
    for (const format of ['openai', 'ai-sdk'] as const) {
      expect(toModelMessages(history, { format })).toEqual([
        { role: 'user', content: '{"a":[1]}' },
        { role: 'assistant', content: '' },
        { role: 'system', content: 'From now on in French.' },
      ]);
    }
  });

  it('ignores metadata that only looks like calls', () => {
    const odd = [
      said('assistant', 'x', { toolCalls: 'none' }),
      said('assistant', 'y', { toolCalls: [null, { id: 1 }] }),
    ];
    expect(toModelMessages(odd, { format: 'openai' })).toEqual([
      { role: 'assistant', content: 'x' },
      { role: 'assistant', content: 'y' },
    ]);
  });

  it.each([
    ['nothing', [], 'history', 'getHistory'],
    ['a promise', [Promise.resolve([]), { format: 'openai' }], 'history', 'await'],
    ['a text', ['hi', { format: 'openai' }], 'history', 'getHistory'],
    ['no options', [[]], 'options', "format: 'openai'"],
    ['another format', [[], { format: 'anthropic' }], 'format', "format: 'openai'"],
  ])('refuses %s, and says what to write', (_what, args, argument, fix) => {
    const call = toModelMessages as (...given: unknown[]) => unknown;
    const details = expect.objectContaining({ argument, fix: expect.stringContaining(fix) });
    expect(() => call(...args)).toThrowError(expect.objectContaining({ code: 'INVALID_ARGUMENT', details }));
  });
});
