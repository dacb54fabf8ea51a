import { beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createCaches } from '../../src/caches/create-caches.js';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { RecordingStorage } from '../support/recording-storage.js';

let now = 0;
const clock = { now: () => now };
let storage: RecordingStorage;
let context: ConversationContext;

beforeEach(() => {
  now = Date.UTC(2026, 0, 1);
  storage = new RecordingStorage(new MemoryStorage({ clock }));
  context = new ConversationContext(storage, { clock });
});

const ids = async (query?: Parameters<ConversationContext['listContexts']>[0]) => {
  const found: string[] = [];
  for await (const { contextId } of context.listContexts(query)) found.push(contextId);
  return found;
};

describe('variables and metadata', () => {
  it('are two name spaces, and come back as they went in', async () => {
    for (const value of [
      '1',
      'null',
      '+51 999',
      '',
      0,
      -0,
      3.5,
      2 ** 53 - 1,
      true,
      null,
      [],
      {},
      [[null]],
      { __proto__x: 1 },
    ]) {
      await context.setVariable('c', 'x', value);
      await context.setMetadata('c', 'x', [value]);
      expect(await context.getVariable('c', 'x', 'default')).toStrictEqual(value);
      expect(await context.getMetadata('c', 'x')).toStrictEqual([value]);
    }
    const named = JSON.parse('{"__proto__":{"polluted":true}}');
    await context.setVariable('c', '__proto__', named);
    expect(await context.getVariable('c', '__proto__')).toEqual(named);
    expect(Object.keys(await context.getVariables('c'))).toEqual(['x', '__proto__']);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it('are copies: changing what was read or written changes nothing stored', async () => {
    const value = { list: [1] };
    await context.setVariable('c', 'x', value);
    value.list.push(2);
    (await context.getVariable('c', 'x', { list: [0] })).list.push(3);
    expect(await context.getVariable('c', 'x')).toEqual({ list: [1] });
  });

  it('tell missing from null, and delete says whether there was one', async () => {
    await context.setVariable('c', 'x', null);
    expect(await context.getVariable('c', 'x', 'default')).toBeNull();
    expect(await context.getVariable('c', 'y', 'default')).toBe('default');
    expect(await context.getVariable('c', 'y')).toBeUndefined();
    expect(await context.deleteVariable('c', 'x')).toBe(true);
    expect(await context.deleteVariable('c', 'x')).toBe(false);
    expect(await context.deleteMetadata('c', 'none')).toBe(false);
  });

  it.each([
    ['undefined', undefined, '$'],
    ['a function', { a: [() => 1] }, '$.a[0]'],
    ['NaN', { 'odd name': Number.NaN }, '$["odd name"]'],
    ['a BigInt', [1n], '$[0]'],
    ['a Map', new Map(), '$'],
    ['a Date', { at: new Date() }, '$.at'],
  ])('refuse %s, naming the path, with nothing written', async (_, value, path) => {
    await expect(context.setVariable('c', 'x', value)).rejects.toMatchObject({
      code: 'VALUE_NOT_JSON',
      message: expect.stringMatching(/^the variable "x"(?:: \$.*)? is /),
      details: { path, field: 'x' },
    });
    await expect(context.appendToVariable('c', 'x', value)).rejects.toMatchObject({ code: 'VALUE_NOT_JSON' });
    expect(await context.getTtl('c')).toBeUndefined();
  });

  it('increment integers only', async () => {
    expect(await context.incrementVariable('c', 'n')).toBe(1);
    expect(await context.incrementVariable('c', 'n', -5)).toBe(-4);
    await context.setVariable('c', 's', '7');
    await expect(context.incrementVariable('c', 's')).rejects.toMatchObject({ code: 'WRONG_TYPE' });
    await context.setVariable('c', 'big', Number.MAX_SAFE_INTEGER);
    await expect(context.incrementVariable('c', 'big')).rejects.toMatchObject({ code: 'INTEGER_OVERFLOW' });
    await expect(context.incrementVariable('c', 'n', 0.5)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(context.appendToVariable('c', 's', 1)).rejects.toMatchObject({ code: 'WRONG_TYPE' });
    expect(await context.getVariables('c')).toEqual({ n: -4, s: '7', big: Number.MAX_SAFE_INTEGER });
  });

  it('update by compare-and-set: 50 at once lose nothing', async () => {
    await Promise.all(
      Array.from({ length: 50 }, (_, i) => context.updateVariable<number[]>('c', 'list', (list = []) => [...list, i])),
    );
    expect((await context.getVariable<number[]>('c', 'list'))?.sort((a, b) => a - b)).toEqual([...Array(50).keys()]);
  });

  it('take a schema, and return what it puts out', async () => {
    const schema = z.object({ since: z.coerce.date() });
    await context.setVariable('c', 'x', { since: '2026-01-01T00:00:00Z' });
    const read = await context.getVariable('c', 'x', { schema });
    expect(read?.since).toBeInstanceOf(Date);
    expect(await context.getVariable('c', 'none', { schema })).toBeUndefined();
    expect(await context.getVariable('c', 'none', { schema, default: null })).toBeNull();
    await context.setVariable('c', 'x', { since: 'never' });
    await expect(context.getVariable('c', 'x', { schema })).rejects.toMatchObject({ code: 'SCHEMA_INVALID' });
    await context.setMetadata('c', 'm', 'x');
    await expect(context.getMetadata('c', 'm', { schema: z.number() })).rejects.toMatchObject({
      code: 'SCHEMA_INVALID',
    });
  });

  it('have limits, with typed errors and nothing written', async () => {
    const small = new ConversationContext(storage, { limits: { nameLength: 5, valueBytes: 20, entries: 2 } });
    await expect(small.setVariable('c', 'longer', 1)).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      details: { limit: 'nameLength' },
    });
    await expect(small.setVariable('c', 'x', 'é'.repeat(10))).rejects.toMatchObject({
      details: { limit: 'valueBytes', max: 20, actual: 22 },
    });
    await expect(small.addToHistory('c', 'user', 'hello')).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    await expect(small.setVariable('c', '', 1)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(small.setVariable('c'.repeat(1025), 'x', 1)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    expect(await small.getTtl('c')).toBeUndefined();
    await small.setVariable('c', 'a', 1);
    await small.setMetadata('c', 'b', 1);
    await expect(small.setVariable('c', 'd', 1)).rejects.toMatchObject({ details: { limit: 'fields' } });
    await small.setVariable('c', 'a', 2);
  });
});

describe('history', () => {
  it('holds who said what and when, oldest first, and stores agent and bot as assistant', async () => {
    await context.addToHistory('c', 'user', 'hi');
    now += 1500;
    await context.addToHistory('c', 'agent', 'hello', { model: 'm' });
    await context.addToHistory('c', 'bot', [{ type: 'text', text: 'parts' }]);
    expect(await context.getHistory<unknown>('c')).toEqual([
      { role: 'user', content: 'hi', timestamp: '2026-01-01T00:00:00.000Z' },
      { role: 'assistant', content: 'hello', timestamp: '2026-01-01T00:00:01.500Z', metadata: { model: 'm' } },
      { role: 'assistant', content: [{ type: 'text', text: 'parts' }], timestamp: '2026-01-01T00:00:01.500Z' },
    ]);
    await expect(context.addToHistory('c', 'owner' as never, 'x')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(context.addToHistory('c', 'user', undefined as never)).rejects.toMatchObject({
      code: 'VALUE_NOT_JSON',
    });
    await expect(context.addToHistory('c', 'user', 'x', [] as never)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });

  it('is paged backwards by position, and cleared', async () => {
    for (let i = 0; i < 7; i++) await context.addToHistory('c', 'user', `${i}`);
    const seen: string[] = [];
    for (let before: number | undefined; before !== 0; ) {
      const page = await context.getHistoryPage('c', { limit: 3, ...(before !== undefined && { before }) });
      seen.unshift(...page.messages.map(({ content }) => content));
      before = page.start;
    }
    expect(seen.join('')).toBe('0123456');
    expect(await context.getHistory('c', { limit: 0 })).toEqual([]);
    await expect(context.getHistory('c', { limit: -1 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await context.clearHistory('c');
    expect(await context.getHistory('c')).toEqual([]);
    await context.clearHistory('never was');
    expect(await context.getTtl('never was')).toBeUndefined();
  });

  it('keeps the newest up to its cap, and counts what it dropped', async () => {
    const capped = new ConversationContext(storage, { history: { max: 3 } });
    for (let i = 0; i < 5; i++) await capped.addToHistory('c', 'user', `${i}`);
    expect(await capped.getHistoryPage('c')).toMatchObject({
      messages: [{ content: '2' }, { content: '3' }, { content: '4' }],
      start: 2,
      total: 5,
      dropped: 2,
    });
  });
});

describe('the conversation', () => {
  it('is created once, belongs to its user, and is not handed to another', async () => {
    const state = await context.getOrCreate('c', { userId: 'alice' });
    expect(state).toEqual({
      contextId: 'c',
      userId: 'alice',
      variables: {},
      metadata: {},
      history: [],
      historyTotal: 0,
      createdAt: '2026-01-01T00:00:00.000Z',
      updatedAt: '2026-01-01T00:00:00.000Z',
    });
    await context.setVariable('c', 'x', 1);
    await context.setMetadata('c', 'm', 2);
    await context.addToHistory('c', 'user', 'hi');
    expect(await context.getOrCreate('c', { userId: 'alice' })).toMatchObject({
      variables: { x: 1 },
      metadata: { m: 2 },
      history: [{ content: 'hi' }],
      historyTotal: 1,
    });
    await expect(context.getOrCreate('c', { userId: 'bob' })).rejects.toMatchObject({ code: 'CONTEXT_FORBIDDEN' });
    expect(await context.getOrCreate('c')).toMatchObject({ userId: 'alice' });
    await context.getOrCreate('d');
    expect(await context.getOrCreate('d', { userId: 'bob' })).toMatchObject({ userId: 'bob' });
  });

  it('expires by its ttl, renewed by every write, or by one of its own, or never', async () => {
    const expiring = new ConversationContext(storage, { clock, ttl: 10 });
    await expiring.setVariable('c', 'x', 1);
    now += 8000;
    expect(await expiring.getTtl('c')).toBe(2);
    await expiring.addToHistory('c', 'user', 'hi');
    expect(await expiring.getTtl('c')).toBe(10);
    expect(await expiring.setTtl('c', 100)).toBe(true);
    await expiring.incrementVariable('c', 'x');
    expect(await expiring.getTtl('c')).toBe(100);
    expect(await expiring.setTtl('c', 'none')).toBe(true);
    await expiring.incrementVariable('c', 'x');
    expect(await expiring.getTtl('c')).toBeNull();
    await expiring.setVariable('d', 'x', 1);
    now += 10_000;
    expect(await expiring.getVariable('d', 'x')).toBeUndefined();
    expect(await expiring.getTtl('d')).toBeUndefined();
    expect(await expiring.setTtl('d', 5)).toBe(false);
    expect(await ids()).toEqual(['c']);
  });

  it.each([0, -1, 1.5, Number.NaN, '10', Number.POSITIVE_INFINITY])('refuses a ttl of %s', async (ttl) => {
    await context.setVariable('c', 'x', 1);
    await expect(context.setTtl('c', ttl as number)).rejects.toMatchObject({ code: 'TTL_INVALID' });
    expect(await context.getTtl('c')).toBeNull();
    expect(() => new ConversationContext(storage, { ttl: ttl as number })).toThrowError(
      expect.objectContaining({ code: 'TTL_INVALID' }),
    );
  });

  it('is listed by owner and by age, cleared, and cleaned up', async () => {
    await context.getOrCreate('old', { userId: 'alice' });
    await context.getOrCreate('other', { userId: 'bob' });
    now += 3_600_000;
    await context.getOrCreate('new', { userId: 'alice' });
    expect(await ids()).toEqual(['new', 'old', 'other']);
    expect(await ids({ userId: 'alice' })).toEqual(['new', 'old']);
    expect(await ids({ userId: 'nobody' })).toEqual([]);
    expect(await ids({ updatedBefore: new Date(now) })).toEqual(['old', 'other']);
    expect(await ids({ userId: 'alice', updatedBefore: '2026-01-01T00:30:00Z' })).toEqual(['old']);
    await expect(ids({ updatedBefore: 'yesterday' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await context.clearContext('other')).toBe(true);
    expect(await context.clearContext('other')).toBe(false);
    expect(await context.cleanupOldContexts({ maxAgeHours: 2 })).toBe(0);
    expect(await context.cleanupOldContexts({ maxAgeHours: 0.5 })).toBe(1);
    expect(await ids()).toEqual(['new']);
    await expect(context.cleanupOldContexts({ maxAgeHours: Number.NaN })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    await expect(context.cleanupOldContexts({ maxAgeHours: -1 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('of one tenant is neither listed nor cleaned by another', async () => {
    const a = context.scoped({ tenantId: 'a' });
    await a.setVariable('c', 'x', 1);
    await context.setVariable('c', 'x', 2);
    now += 7_200_000;
    expect(await context.cleanupOldContexts({ maxAgeHours: 1 })).toBe(1);
    expect(await a.getVariable('c', 'x')).toBe(1);
    expect(await ids()).toEqual([]);
  });

  it('has a handle with the same operations and no id', async () => {
    const handle = context.conversation('c');
    await handle.setVariable('x', 1);
    await handle.addToHistory('user', 'hi');
    await handle.save();
    expect(handle.contextId).toBe('c');
    expect(await context.getVariable('c', 'x')).toBe(1);
    expect(await handle.getHistory()).toHaveLength(1);
  });

  it('needs a storage, and so do caches', () => {
    for (const odd of [undefined, null, 'memory', { backend: 'memory' }]) {
      const refused = expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({ argument: 'storage' }),
      });
      expect(() => new ConversationContext(odd as never)).toThrowError(refused);
      expect(() => createCaches({ storage: odd as never, tenantId: 't' })).toThrowError(refused);
    }
  });

  it('shows a text where a number belongs as one', async () => {
    const context = new ConversationContext(new MemoryStorage());
    await expect(context.incrementVariable('c1', 'n', '2' as never)).rejects.toThrowError(/^by is "2"/);
    await expect(context.getHistory('c1', { limit: '5' as never })).rejects.toThrowError(/^limit is "5"/);
  });

  it('has no operation without an id', async () => {
    await expect(context.getVariable('', 'x')).rejects.toMatchObject({ code: 'CONTEXT_ID_MISSING' });
    await expect(context.setVariable(undefined as never, 'x', 1)).rejects.toMatchObject({ code: 'CONTEXT_ID_MISSING' });
    await expect(context.setVariable('\ud800', 'x', 1)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(storage.calls).toEqual([]);
  });
});

it('writes one delta per operation, whoever holds the lease', async () => {
  await storage.begin(context.keyOf('c'), { token: 'somebody', leaseMs: 60_000 });
  storage.calls.length = 0;
  await context.setVariable('c', 'x', 1);
  await context.incrementVariable('c', 'n');
  await context.addToHistory('c', 'user', 'hi');
  expect(storage.calls.map(({ name }) => name)).toEqual(['commit', 'commit', 'commit']);
});
