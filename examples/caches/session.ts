import 'reflect-metadata';
import { type ConversationContext, injected, skill, stateful, type Task } from 'agentup';

/** Who is logged in, for an hour from the last login. */
@skill({ id: 'session', description: 'Logs in and out' })
export class Session {
  @stateful()
  async handle(task: Task, context: ConversationContext = injected()) {
    const { stateCache, expiry } = context.caches;
    const [command, name = 'somebody'] = task.text.split(' ');
    if (command === 'login') {
      await stateCache.set('session', { name }, { ttl: 3600 });
      await expiry.set('session_end', task.userId ?? '', { ttl: 3600, data: { name } });
      return `Welcome, ${name}.`;
    }
    if (command === 'logout') {
      await expiry.delete('session_end', task.userId ?? '');
      return (await stateCache.delete('session')) ? 'Goodbye.' : 'You are not logged in.';
    }
    const session = (await stateCache.getEntry('session')) as { value: { name: string }; ttl: number } | undefined;
    if (!session) return 'Please log in first.';
    return `You are ${session.value.name}, for ${Math.ceil(session.ttl / 60)} minutes.`;
  }
}
