import 'reflect-metadata';
import { type ConversationContext, injected, skill, stateful, type Task } from 'agentup';

interface Order {
  step: 'size' | 'toppings' | 'confirm';
  size?: string;
  toppings?: string[];
}

const PRICES: Record<string, number> = { small: 8.99, medium: 12.99, large: 15.99 };
/** An order that nobody goes on with is forgotten after half an hour. */
const TTL = 1800;

/** A flow whose step lies in the state cache: it belongs to the user, whatever conversation he goes on in. */
@skill({ id: 'pizza_order', description: 'Takes an order, step by step' })
export class PizzaOrder {
  @stateful()
  async handle(task: Task, context: ConversationContext = injected()) {
    const { stateCache, tableCache } = context.caches;
    const order = (await stateCache.get('pizza_order')) as Order | undefined;
    const said = task.text.trim().toLowerCase();
    switch (order?.step) {
      case undefined:
        await stateCache.set('pizza_order', { step: 'size' }, { ttl: TTL });
        return 'What size? small, medium or large';
      case 'size':
        if (!(said in PRICES)) return `There is no ${said}. small, medium or large?`;
        await stateCache.patch('pizza_order', { step: 'toppings', size: said }, { ttl: TTL });
        return 'What toppings? Separate them by commas.';
      case 'toppings':
        await stateCache.patch('pizza_order', { step: 'confirm', toppings: said.split(',').map((one) => one.trim()) });
        return `A ${order.size} pizza with ${said} for $${PRICES[order.size ?? '']}. Confirm?`;
      case 'confirm': {
        await stateCache.delete('pizza_order');
        if (said !== 'yes') return 'Then not.';
        const number = await tableCache.incrementField('counters', 'orders', 'placed');
        await tableCache.createIfAbsent('orders', `order_${number}`, {
          user: task.userId,
          status: 'preparing',
          ...order,
        });
        return `Order ${number} is being prepared.`;
      }
    }
  }
}
