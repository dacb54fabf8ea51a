import 'reflect-metadata';
import { type ConversationContext, injected, skill, stateful, type Task } from 'agentup';
import { z } from 'zod';

const Ticket = z.object({ customer: z.string(), status: z.enum(['open', 'resolved']), notes: z.array(z.string()) });

/** A customer-service bot: tickets that the whole team sees, and the one that a customer has open, in any conversation. */
@skill({ id: 'support', description: 'Takes care of problems' })
export class CustomerService {
  @stateful()
  async handle(task: Task, context: ConversationContext = injected()) {
    const { stateCache, tableCache, expiry } = context.caches;
    const tickets = tableCache.table('tickets', Ticket, { indexes: ['status'] });
    const open = await stateCache.getField('support', 'ticket');
    if (typeof open !== 'string') {
      if (!/help/i.test(task.text)) return 'You have no open ticket. Say "help" and what is wrong.';
      const number = await tableCache.incrementField('counters', 'tickets', 'last');
      const id = `T${number}`;
      await tickets.createIfAbsent(id, { customer: task.userId ?? '', status: 'open', notes: [task.text] });
      await stateCache.set('support', { ticket: id }, { ttl: 7 * 86_400 });
      // Somebody looks at it when nobody has answered for an hour: see `expiry.onExpired('escalate', …)`.
      await expiry.set('escalate', id, { ttl: 3_600 });
      return `${id} is open.`;
    }
    if (!/solved/i.test(task.text)) {
      await tickets.appendToList(open, 'notes', task.text);
      const ticket = await tickets.get(open);
      return `${open} is ${ticket?.status}, with ${ticket?.notes.length} notes.`;
    }
    const ticket = await tickets.get(open);
    const { status } = await tickets.replaceIf(
      open,
      { customer: task.userId ?? '', status: 'resolved', notes: ticket?.notes ?? [] },
      { status: 'open' },
    );
    await expiry.delete('escalate', open);
    await stateCache.delete('support');
    const others = await tickets.findByField('status', 'open');
    return `${open} is ${status === 'replaced' ? 'resolved' : 'gone'}; ${others.length} others are open.`;
  }
}
