import { describe, expect, it } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { estimateTokens } from '../../src/conversation/token-budget.js';
import { withState } from '../../src/skill/with-state.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { RecordingStorage } from '../support/recording-storage.js';

async function conversation(count: number) {
  const storage = new RecordingStorage(new MemoryStorage());
  const context = new ConversationContext(storage);
  await withState(async (_task, inside, id) => {
    for (let i = 0; i < count; i++) await inside.addToHistory(id, 'user', `${i}`);
  })({ id: 'c', text: '' }, context);
  storage.calls.length = 0;
  const pages = () => storage.calls.filter(({ name }) => name === 'readLog').length;
  return { context, pages };
}
const one = () => 1;
const texts = (messages: { content: string }[]) => messages.map(({ content }) => content);

describe('a history within a budget of tokens', () => {
  it('has the newest that fit, oldest first, and reads no further than that', async () => {
    const { context, pages } = await conversation(1_000);
    expect(texts(await context.getHistory('c', { maxTokens: 3, countTokens: one }))).toEqual(['997', '998', '999']);
    expect(pages()).toBe(1);
    const many = await context.getHistory('c', { maxTokens: 120, countTokens: async () => 1 });
    expect([many.length, many[0]?.content, many.at(-1)?.content]).toEqual([120, '880', '999']);
    expect(pages()).toBe(4);
  });

  it('ends where one does not fit, also where an older one would', async () => {
    const { context } = await conversation(5);
    const countTokens = ({ content }: { content: unknown }) => (content === '2' ? 100 : 1);
    expect(texts(await context.getHistory('c', { maxTokens: 50, countTokens }))).toEqual(['3', '4']);
    expect(await context.getHistory('c', { maxTokens: 0, countTokens })).toEqual([]);
    expect(texts(await context.getHistory('c', { maxTokens: 1_000, countTokens }))).toEqual(['0', '1', '2', '3', '4']);
    expect(await context.getHistory('none', { maxTokens: 9 })).toEqual([]);
  });

  it('minds limit and before', async () => {
    const { context } = await conversation(200);
    const budget = { maxTokens: 500, countTokens: one };
    expect(texts(await context.getHistory('c', { ...budget, limit: 2 }))).toEqual(['198', '199']);
    expect(texts(await context.getHistory('c', { ...budget, before: 3 }))).toEqual(['0', '1', '2']);
    expect(await context.getHistory('c', { ...budget, limit: 120 })).toHaveLength(120);
  });

  it('knows what a turn has added, and where a cap has cut', async () => {
    const context = new ConversationContext(new MemoryStorage(), { history: { load: 2, max: 60 } });
    for (let i = 0; i < 70; i++) await context.addToHistory('c', 'user', `${i}`);
    const seen = await withState(async (_task, inside, id) => {
      await inside.addToHistory(id, 'user', 'now');
      return texts(await inside.getHistory(id, { maxTokens: 500, countTokens: one }));
    })({ id: 'c', text: '' }, context);
    expect([seen.length, seen[0], seen.at(-1)]).toEqual([61, '10', 'now']);
  });

  it('refuses a budget and a count that are none', async () => {
    const { context } = await conversation(1);
    for (const options of [
      { maxTokens: Number.NaN },
      { maxTokens: -1 },
      { maxTokens: 5, countTokens: () => Number.NaN },
    ]) {
      await expect(context.getHistory('c', options)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
  });

  it('is estimated by bytes, calls of tools included', () => {
    const message = { role: 'user' as const, content: 'x'.repeat(35), timestamp: '' };
    expect(estimateTokens(message)).toBe(14);
    expect(estimateTokens({ ...message, content: '日'.repeat(35) })).toBe(34);
    expect(
      estimateTokens({ ...message, metadata: { toolCalls: [{ id: '1', name: 'a', arguments: {} }] } }),
    ).toBeGreaterThan(20);
  });
});
