import { expect, it } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { handler } from '../../src/skill/handler.js';
import { handlerMetadata, handlersOf, skillMetadata } from '../../src/skill/handler-metadata.js';
import { hooksOf, onError } from '../../src/skill/hooks.js';
import { skill } from '../../src/skill/skill.js';
import { stateful } from '../../src/skill/stateful.js';
import type { Task } from '../../src/skill/task.js';
import { tool } from '../../src/skill/tool.js';
import { toolsOf } from '../../src/skill/tool-box.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { autoSyncState } from '../../src/sync/auto-sync-state.js';
import { trackMessages } from '../../src/sync/track-messages.js';

interface CounterSkill {
  handle(task: Task, context?: ConversationContext): Promise<string>;
  greeting: string;
}

interface ShopSkill {
  handle(task: Task, context?: ConversationContext): Promise<unknown>;
}

/** What each decorator dialect made of the same class and of the same mistakes. */
export interface Dialect {
  Counter: new () => CounterSkill;
  Child: new () => CounterSkill;
  /** With a tool `price`, and hooks for a start and for that tool. */
  Shop: new () => ShopSkill;
  misuse: Record<'class' | 'field' | 'accessor' | 'getter', () => unknown>;
  /** A class or method under a decorator that lacks its parentheses. */
  bare: Record<'method' | 'class', (decorator: unknown) => unknown>;
}

/** The cases that must hold in both dialects. */
export function decoratorCases({ Counter, Child, Shop, misuse, bare }: Dialect): void {
  const fresh = () => new ConversationContext(new MemoryStorage());
  const task = { id: 't1', contextId: 'c1', text: 'hi' };

  it('injects the context and the id of its conversation', async () => {
    const context = fresh();
    const counter = new Counter();
    expect(await counter.handle(task, context)).toBe('hello c1 1');
    expect(await counter.handle(task, context)).toBe('hello c1 2');
    expect(await counter.handle({ ...task, contextId: 'c2' }, context)).toBe('hello c2 1');
  });

  it('keeps `this`, the name and the length, and stores nothing on the instance', async () => {
    const counter = new Counter();
    counter.greeting = 'hola';
    expect(await counter.handle(task, fresh())).toBe('hola c1 1');
    expect(Object.keys(counter)).toEqual(['greeting']);
    expect(counter.handle.name).toBe('handle');
    expect(counter.handle.length).toBe(1);
  });

  it('records what it knows of the class and its methods', () => {
    expect(skillMetadata(Counter)).toMatchObject({ id: 'counter', description: 'Counts' });
    expect(handlersOf(Counter)).toMatchObject([
      { name: 'handle', metadata: { kind: 'stateful', options: { ttl: 60 } } },
    ]);
    expect(handlerMetadata(Counter.prototype.handle)?.kind).toBe('stateful');
  });

  it('follows inheritance: the child has the method of its parent, and its own id only where it says so', async () => {
    expect(handlersOf(Child)).toMatchObject([{ name: 'handle' }]);
    expect(skillMetadata(Child)).toBeUndefined();
    expect(await new Child().handle(task, fresh())).toBe('child c1 1');
  });

  it('makes tools and hooks of methods', async () => {
    expect(toolsOf(new Shop()).list()).toMatchObject([{ name: 'price', skillId: 'shop', description: 'A price' }]);
    expect(hooksOf(new Shop())?.methods).toMatchObject({ started: ['begin'], toolCalled: ['begin'], ended: [] });
    const context = fresh();
    expect(await new Shop().handle(task, context)).toBe('tea costs 3');
    expect(await context.getVariable('c1', 'hooks')).toBe(2);
  });

  it.each(['class', 'field', 'accessor', 'getter'] as const)('refuses to stand on a %s', (kind) => {
    expect(misuse[kind]).toThrowError(expect.objectContaining({ code: 'DECORATOR_MISUSE' }));
  });

  it.each([
    ['method', stateful, 'write @stateful()'],
    ['method', handler, 'write @handler()'],
    ['method', tool, "write @tool({ description: '…' })"],
    ['method', onError, 'write @onError()'],
    ['method', trackMessages, 'write @trackMessages()'],
    ['method', autoSyncState, 'write @autoSyncState()'],
    ['class', skill, "write @skill({ id: 'my_skill' })"],
  ] as const)('says that the parentheses are missing on a %s: %o', (kind, decorator, fix) => {
    expect(() => bare[kind](decorator)).toThrowError(
      expect.objectContaining({ code: 'DECORATOR_MISUSE', details: { fix } }),
    );
  });
}
