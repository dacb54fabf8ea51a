import { type ConversationContext, injected, skill, stateful, type Task } from 'agentup';
import { autoSyncState, trackMessages } from 'agentup/sync';

const MENU: Readonly<Record<string, number>> = { ceviche: 35, causa: 18, chicha: 8 };

interface Cart {
  items: { name: string; price: number }[];
  total: number;
}

/** Takes orders. What it says and what is in the cart goes to the back office, as part of each turn. */
@skill({ id: 'order' })
export class Order {
  @stateful()
  @trackMessages()
  @autoSyncState()
  async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()) {
    const cart = await context.getVariable<Cart>(contextId, 'cart', { items: [], total: 0 });
    const price = MENU[task.text];
    if (price !== undefined) {
      cart.items.push({ name: task.text, price });
      cart.total += price;
      await context.setVariable(contextId, 'cart', cart);
      await context.setVariable(contextId, 'order_stage', 'cart');
      return `${task.text} is in your cart: S/ ${cart.total}.`;
    }
    if (task.text.startsWith('pay ')) {
      const method = task.text.slice(4);
      await context.setVariable(contextId, 'payment_method', method);
      await context.setVariable(contextId, 'order_stage', 'payment');
      if (method === 'dollars') throw new Error('we take soles only');
      return `S/ ${cart.total} with ${method}, thank you.`;
    }
    await context.setVariable(contextId, 'workflow', 'menu');
    return `We have ${Object.keys(MENU).join(', ')}.`;
  }
}
