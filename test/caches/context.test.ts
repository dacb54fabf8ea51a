import { expect, it } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { withState } from '../../src/skill/with-state.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';

const task = { id: 't', contextId: 'c', text: '', tenantId: 'tenant', userId: 'ann' };

it('a handler has the caches of its task, over the storage of its conversation', async () => {
  const context = new ConversationContext(new MemoryStorage());
  const visits = withState(async (_task, inside) => {
    const { stateCache, userCache, tableCache } = inside.caches;
    await tableCache.incrementField('counters', 'visits', 'all');
    await stateCache.incrementField('visits', 'n');
    return userCache.incrementField('visits');
  });
  await visits(task, context);
  expect(await visits({ ...task, contextId: 'other' }, context)).toBe(2);
  expect(await visits({ ...task, contextId: 'bob’s', userId: 'bob' }, context)).toBe(1);
  const outside = context.scoped({ tenantId: 'tenant', userId: 'ann' }).caches;
  expect(await outside.stateCache.get('visits')).toEqual({ n: 2 });
  expect(await outside.tableCache.get('counters', 'visits')).toEqual({ all: 3 });
});

it('what a handler put into a cache stays when it throws', async () => {
  const context = new ConversationContext(new MemoryStorage());
  const fails = withState(async (_task, inside, id) => {
    await inside.setVariable(id, 'x', 1);
    await inside.caches.stateCache.set('tried', { n: 1 });
    throw new Error('no');
  });
  await expect(fails(task, context)).rejects.toThrow('no');
  const scoped = context.scoped({ tenantId: 'tenant', userId: 'ann' });
  expect([await scoped.getVariable('c', 'x'), await scoped.caches.stateCache.get('tried')]).toEqual([
    undefined,
    { n: 1 },
  ]);
});

it('there are none where the task names no tenant, and no user’s where it names no user', async () => {
  const context = new ConversationContext(new MemoryStorage());
  const use = withState(async (_task, inside) => inside.caches.tableCache.exists('t', 'k'));
  await expect(use({ ...task, tenantId: undefined }, context)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  expect(await use({ ...task, userId: undefined }, context)).toBe(false);
  expect(() => context.scoped({ tenantId: 't' }).caches.userCache).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
  );
});
