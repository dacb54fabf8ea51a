// Compiled in both decorator dialects, never run: each @ts-expect-error below is a mistake that must not compile.
import 'reflect-metadata';
import { z } from 'zod';
import type { KeyedCache, TableCache } from '../../src/caches/index.js';
import {
  type ConversationContext,
  type EndedEvent,
  type Finding,
  type FindingCode,
  type HandlerDecorator,
  handler,
  injected,
  type LoadedSkill,
  onConversationEnded,
  onConversationStarted,
  type Severity,
  type SkillConfig,
  type StartedEvent,
  skill,
  stateful,
  type Task,
  type ToolCalledEvent,
  tool,
  type ValkeyClient,
  type ValkeyStorageOptions,
  withState,
} from '../../src/index.js';
import type { ConversationClient, ConversationPage } from '../../src/sync/conversation-client.js';
import type { Backoff, Merge, MessageInput, SyncInput } from '../../src/sync/index.js';

const Sum = z.object({ a: z.coerce.number(), b: z.number().default(1) });

@skill({ id: 'typed' })
export class Typed {
  @stateful()
  async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()): Promise<number> {
    const theme = await context.getVariable(contextId, 'preferences', { theme: 'light' });
    const name: string = theme.theme;
    const count: number = await context.incrementVariable(contextId, name + task.text);
    return count;
  }

  @stateful({ storage: 'memory' })
  async onlyTask(task: Task) {
    return task.id;
  }

  @stateful<Order>({ contextId: (order) => order.orderId })
  async ownTask(order: Order, context: ConversationContext = injected()) {
    return context.getTtl(order.orderId);
  }

  @handler()
  plain(task: Task): string {
    return task.text;
  }

  // @ts-expect-error a handler takes a task, not a number
  @stateful()
  async wrongTask(task: number, context: ConversationContext = injected()) {
    return [task, context];
  }

  // @ts-expect-error the second parameter is the context
  @stateful()
  async wrongContext(task: Task, context: Date = injected()) {
    return [task, context];
  }

  // @ts-expect-error the third parameter is the id of the context
  @stateful()
  async wrongContextId(task: Task, context: ConversationContext = injected(), contextId: number = injected()) {
    return [task, context, contextId];
  }

  // @ts-expect-error a turn takes time: the method returns a promise
  @stateful()
  sync(task: Task): string {
    return task.text;
  }

  // @ts-expect-error no such backend
  @stateful({ storage: 'redis' })
  async wrongBackend(task: Task) {
    return task;
  }

  // @ts-expect-error seconds are a number
  @stateful({ ttl: '1h' })
  async wrongTtl(task: Task) {
    return task;
  }

  @tool({ description: 'Adds', input: Sum })
  async add({ a, b }: { a: number; b: number }, context: ConversationContext = injected()) {
    return a + b + (await context.incrementVariable('c', 'n'));
  }

  @tool({ description: 'Without a schema the arguments are what the method says' })
  async loose(args: { city?: string }, _context: ConversationContext = injected(), id: string = injected()) {
    return [args.city, id];
  }

  @tool({ description: 'Stops when told to', timeout: 5, scope: 'user' })
  async slow(
    _args: object,
    _context: ConversationContext = injected(),
    _id: string = injected(),
    signal: AbortSignal = injected(),
  ) {
    return signal.aborted;
  }

  // @ts-expect-error the schema puts out numbers
  @tool({ description: 'Adds', input: Sum })
  async wrongArgs({ a }: { a: string }) {
    return a;
  }

  // @ts-expect-error a tool takes time
  @tool({ description: 'Adds', input: Sum })
  syncTool({ a }: { a: number }) {
    return a;
  }

  // @ts-expect-error a model has to be told what it is for
  @tool({ input: Sum })
  async undescribed({ a }: { a: number }) {
    return a;
  }

  @onConversationStarted()
  async begin(event: StartedEvent, context: ConversationContext, contextId: string) {
    await context.setVariable(contextId, 'by', event.userId ?? null);
  }

  @onConversationEnded()
  finish({ reason }: EndedEvent) {
    return reason;
  }

  // @ts-expect-error an end has no tool
  @onConversationEnded()
  wrongEvent(event: ToolCalledEvent) {
    return event.tool;
  }

  // @ts-expect-error a field is no method
  @stateful()
  field = 1;
}

interface Order extends Task {
  readonly orderId: string;
}

export async function callers(typed: Typed, context: ConversationContext): Promise<void> {
  const count: number = await typed.handle({ id: 't', text: 'hi' });
  await typed.handle({ id: 't', contextId: 'c', messageId: 'm', text: 'hi', userId: 'u', tenantId: 'a' });
  await typed.handle({ id: 't', text: 'a context of my own' }, context);
  // @ts-expect-error a task has a text
  await typed.handle({ id: 't' });
  // @ts-expect-error a task is an object
  await typed.handle('hi');
  // @ts-expect-error the task is owed
  await typed.handle();
  // @ts-expect-error a string is no context
  await typed.handle({ id: 't', text: 'hi' }, 'context');

  const greet = withState(async (task, inside, contextId) => {
    const visits: number = await inside.incrementVariable(contextId, 'visits');
    return `${task.text} ${visits}`;
  });
  const greeting: string = await greet({ id: 't', text: 'hi' });
  // @ts-expect-error a function takes a task as well
  await greet('hi');
  // @ts-expect-error a handler's first parameter is the task
  withState(async (task: Date) => task);
  console.log(count, greeting);
}

interface Invoice {
  readonly id: string;
  readonly note?: string;
  readonly lines: readonly { readonly price: number }[];
  readonly before?: Invoice;
}

/** Values are checked when they are stored: no type may keep one of these out. */
export async function values<T, U extends Invoice>(
  context: ConversationContext,
  table: TableCache,
  more: { t: T; u: U },
) {
  const { t, u } = more;
  const invoice: Invoice = u;
  const parsed: unknown = JSON.parse('{}');
  for (const value of [invoice, parsed, t, u, [t], { u }, ['a'] as const]) {
    await context.setVariable('c', 'v', value);
    await context.appendToVariable('c', 'v', value);
    await context.setMetadata('c', 'm', value);
    await table.setField('invoices', 'a', 'f', value);
  }
  await context.setVariable('c', 'v', t);
  await context.setVariable('c', 'v', u);
  await context.addToHistory('c', 'tool', { total: 3, lines: ['a'] }, { at: 1 });
  // @ts-expect-error what a message holds is plain JSON
  await context.addToHistory('c', 'tool', { at: new Date() });
  // @ts-expect-error and so is its metadata
  await context.addToHistory('c', 'tool', 'x', { at: new Date() });
}

// What the types of the package are made of has names of its own.
export const kinds = ({ code, severity }: Finding): [FindingCode, Severity] => [code, severity];
export const configured = ({ config }: LoadedSkill): SkillConfig => config;
export const decorator: HandlerDecorator = handler();
export const given = (client: ValkeyClient): ValkeyStorageOptions => ({ client, keyPrefix: 'a:' });
export const page = (client: ConversationClient): Promise<ConversationPage> => client.list({ subDomain: 'a' });
export const said = (sync: SyncInput, message: MessageInput): unknown => [sync, message];
export const pulled = (merge: Merge, backoff: Backoff): unknown => [merge, backoff];
export const cache = (table: TableCache): KeyedCache<[table: string, key: string]> => table;
