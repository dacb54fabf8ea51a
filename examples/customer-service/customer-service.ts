import 'reflect-metadata';
import {
  type ConversationContext,
  type EndedEvent,
  type ErrorEvent,
  injected,
  onConversationEnded,
  onConversationStarted,
  onError,
  onToolCompleted,
  type StartedEvent,
  skill,
  stateful,
  type Task,
  type ToolCompletedEvent,
  tool,
  toolsOf,
} from 'agentup';
import { z } from 'zod';
import { authenticate, findOrder, priceOf } from './shop.js';

interface CartLine {
  readonly productId: string;
  readonly quantity: number;
}

const Login = z.object({ username: z.string().min(1), password: z.string() });
const OrderId = z.object({ orderId: z.string().regex(/^ORD-\d+$/, 'an order is called ORD- and its number') });
const Line = z.object({ productId: z.string().min(1), quantity: z.coerce.number().int().positive().default(1) });

/** What a caller's words mean; a language model would choose the tool by itself, see `examples/model-chat`. */
const COMMANDS: readonly [RegExp, (found: RegExpExecArray) => [name: string, args: object]][] = [
  [/^login (\S+) (\S+)/i, ([, username, password]) => ['login', { username, password }]],
  [/^logout/i, () => ['logout', {}]],
  [/^where is (\S+?)\??$/i, ([, orderId]) => ['get_order', { orderId }]],
  [
    /^add (\S+)(?: (\d+))?/i,
    ([, productId, quantity]) => ['add_to_cart', { productId, ...(quantity && { quantity }) }],
  ],
  [/^total/i, () => ['get_cart_total', {}]],
];

@skill({ id: 'customer_service', description: 'Looks up orders and fills a cart' })
export class CustomerService {
  @onConversationStarted()
  async begin({ userId }: StartedEvent, context: ConversationContext, contextId: string): Promise<void> {
    const visits = await context.caches.userCache.incrementField('visits');
    await context.setVariable(contextId, 'visit', visits);
    await context.addToHistory(contextId, 'system', `A conversation with ${userId ?? 'somebody'} has begun.`);
  }

  /** What matters outlives the conversation: the cart is there again next time. */
  @onConversationEnded()
  async finish({ reason }: EndedEvent, context: ConversationContext, contextId: string): Promise<void> {
    const cart = await context.getVariable<CartLine[]>(contextId, 'cart', []);
    await context.caches.userCache.patch({ lastCart: cart, lastEnd: reason });
  }

  @onToolCompleted()
  async count({ tool: name }: ToolCompletedEvent, context: ConversationContext): Promise<void> {
    await context.caches.tableCache.incrementField('tools', name, 'calls');
  }

  @onError()
  async note({ phase, error }: ErrorEvent, context: ConversationContext, contextId: string): Promise<void> {
    await context.setMetadata(contextId, 'lastError', `${phase}: ${error instanceof Error ? error.message : error}`);
  }

  @stateful()
  async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()): Promise<string> {
    for (const [pattern, meaning] of COMMANDS) {
      const found = pattern.exec(task.text);
      if (!found) continue;
      const [name, args] = meaning(found);
      try {
        return JSON.stringify(await toolsOf(this).call(name, args));
      } catch (error) {
        return `That did not work: ${error instanceof Error ? error.message : error}`;
      }
    }
    const visit = await context.getVariable(contextId, 'visit', 1);
    return `Hello${visit > 1 ? `, welcome back (visit ${visit})` : ''}! Try: login, where is ORD-789, add P123 2, total.`;
  }

  @tool({ description: 'Logs the customer in', input: Login })
  async login(
    { username, password }: z.output<typeof Login>,
    context: ConversationContext = injected(),
    contextId: string = injected(),
  ): Promise<object> {
    const customerId = await authenticate(username, password);
    if (customerId === undefined) return { success: false, error: 'Invalid credentials' };
    await context.setVariable(contextId, 'customerId', customerId);
    return { success: true, user: customerId };
  }

  @tool({ description: 'Logs the customer out' })
  async logout(
    _args: object,
    context: ConversationContext = injected(),
    contextId: string = injected(),
  ): Promise<object> {
    await context.deleteVariable(contextId, 'customerId');
    return { success: true };
  }

  /** Kept for five minutes for everybody; whose order it is, is asked each time. */
  @tool({ name: 'get_order', description: 'Status and items of an order', input: OrderId, timeout: 5 })
  async getOrder(
    { orderId }: z.output<typeof OrderId>,
    context: ConversationContext = injected(),
    contextId: string = injected(),
  ): Promise<object> {
    const customerId = await context.getVariable<string>(contextId, 'customerId');
    if (customerId === undefined) return { error: 'Please log in first' };
    const orders = context.caches.tableCache.table('orders', undefined, { ttl: 300 });
    const order = (await orders.getOrLoad(orderId, async () => (await findOrder(orderId)) ?? null)) as {
      customerId: string;
      status: string;
      items: string[];
    } | null;
    if (order?.customerId !== customerId) return { error: `There is no order ${orderId} of yours` };
    await context.setVariable(contextId, 'recentOrderId', orderId);
    return { orderId, status: order.status, items: order.items };
  }

  @tool({ name: 'add_to_cart', description: 'Puts a product into the cart', input: Line })
  async addToCart(
    { productId, quantity }: z.output<typeof Line>,
    context: ConversationContext = injected(),
    contextId: string = injected(),
  ): Promise<object> {
    await priceOf(productId);
    await context.appendToVariable(contextId, 'cart', { productId, quantity });
    return { success: true, cartSize: (await context.getVariable<CartLine[]>(contextId, 'cart', [])).length };
  }

  @tool({ name: 'get_cart_total', description: 'What the cart costs' })
  async cartTotal(
    _args: object,
    context: ConversationContext = injected(),
    contextId: string = injected(),
  ): Promise<object> {
    const cart = await context.getVariable<CartLine[]>(contextId, 'cart', []);
    const prices = await Promise.all(
      cart.map(async ({ productId, quantity }) => (await priceOf(productId)) * quantity),
    );
    return { total: Number(prices.reduce((sum, price) => sum + price, 0).toFixed(2)), items: cart.length };
  }
}
