import 'reflect-metadata';
import { type ConversationContext, injected, skill, stateful, type Task } from 'agentup';
import { z } from 'zod';

const Product = z.object({
  name: z.string(),
  price: z.number().positive(),
  category: z.string(),
  available: z.boolean().default(true),
});

/** Rows that all users of the tenant share: typed, found by category, made void all at once when the menu changes. */
@skill({ id: 'catalogue', description: 'Shows the menu' })
export class Catalogue {
  @stateful()
  async handle(task: Task, context: ConversationContext = injected()) {
    const options = { indexes: ['category'], versioned: true, ttl: 86_400 };
    const products = context.caches.tableCache.table('products', Product, options);
    if (task.text.startsWith('new menu')) return `Menu ${await products.bumpVersion()}`;
    await products.createIfAbsent('pizza_large', { name: 'Large pizza', price: 15.99, category: 'pizza' });
    await products.createIfAbsent('coke_can', { name: 'Coke', price: 1.99, category: 'drinks' });
    const [, gone] = /^sold out (\w+)/.exec(task.text) ?? [];
    if (gone && (await products.exists(gone))) await products.setField(gone, 'available', false);
    const pizzas = await products.findByField('category', 'pizza');
    const all = await products.getAll();
    const shown = all.filter(({ row }) => row.available).map(({ row }) => `${row.name} $${row.price}`);
    return `${shown.join(', ')} (${pizzas.length} pizza)`;
  }
}
