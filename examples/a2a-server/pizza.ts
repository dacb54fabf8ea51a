import 'reflect-metadata';
import { type ConversationContext, injected, inputRequired, skill, stateful, type Task } from 'agentup';

const SIZES = ['small', 'large'];

@skill({ id: 'order', description: 'Takes an order for a pizza' })
export class Order {
  @stateful()
  async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()) {
    const kind = (await context.getVariable<string>(contextId, 'kind')) ?? task.text;
    if (!(await context.getVariable(contextId, 'kind'))) await context.setVariable(contextId, 'kind', kind);
    if (!SIZES.includes(task.text)) return inputRequired(`A ${kind}. Which size?`, SIZES);
    await context.deleteVariable(contextId, 'kind');
    const order = await context.incrementVariable(contextId, 'orders');
    return { order, kind, size: task.text };
  }
}

@skill({ id: 'story', description: 'Tells a story while you wait' })
export class Story {
  @stateful()
  async *handle(_task: Task, context: ConversationContext = injected(), contextId: string = injected()) {
    const orders = await context.getVariable(contextId, 'orders', 0);
    for (const piece of ['Once upon a time ', 'there was somebody ', `with ${orders} pizzas.`]) yield piece;
  }
}
