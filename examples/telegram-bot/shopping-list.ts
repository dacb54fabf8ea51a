import 'reflect-metadata';
import { type ConversationContext, injected, skill, stateful, type Task } from 'agentup';

interface Entry {
  readonly what: string;
  readonly by: string;
}

@skill({ id: 'shopping_list', name: 'Shopping list', description: 'One list for everybody in a chat' })
export class ShoppingList {
  @stateful()
  async handle(task: Task, context: ConversationContext = injected(), id: string = injected()): Promise<string> {
    const by = typeof task.metadata?.['name'] === 'string' ? task.metadata['name'] : 'somebody';
    const [, command, what = ''] = /^\/?(add|bought|list)\b(?:@\w+)?\s*(.*)$/iu.exec(task.text) ?? [];
    switch (command?.toLowerCase()) {
      case 'add':
        // Counts once, however often the platform delivers the message.
        await context.appendToVariable(id, 'list', { what, by } satisfies Entry);
        return `${what} is on the list.`;
      case 'bought': {
        const list = await context.updateVariable<Entry[]>(id, 'list', (before = []) =>
          before.filter((entry) => entry.what !== what),
        );
        return `${list.length} to go.`;
      }
      case 'list': {
        const list = await context.getVariable<Entry[]>(id, 'list', []);
        return list.length === 0 ? 'There is nothing to buy.' : list.map((one) => `${one.what} (${one.by})`).join('\n');
      }
      default:
        return 'add milk, bought milk, or list?';
    }
  }
}
