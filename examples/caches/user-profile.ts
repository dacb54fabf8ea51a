import 'reflect-metadata';
import { type ConversationContext, injected, skill, stateful, type Task } from 'agentup';
import { z } from 'zod';

const Profile = z.object({
  name: z.string(),
  phone: z.string(),
  language: z.string().default('en'),
  message_count: z.number().int().default(0),
  last_seen: z.coerce.date().optional(),
});

/** A customer's profile outlives his conversations: it is the same in all of them. */
@skill({ id: 'profile', description: 'Knows the customer' })
export class UserProfile {
  @stateful()
  async handle(task: Task, context: ConversationContext = injected()) {
    const { userCache } = context.caches;
    await userCache.getOrLoad(() => ({ name: 'Sarah', phone: '0123456789' }));
    const count = await userCache.incrementField('message_count');
    await userCache.patch({ last_seen: '2026-01-02T03:04:05Z' });
    await userCache.at('stats').appendToList('topics', task.text);
    const profile = await userCache.get({ schema: Profile });
    return `${profile?.name} (${profile?.phone}), message ${count}, seen in ${profile?.last_seen?.getUTCFullYear()}`;
  }
}
