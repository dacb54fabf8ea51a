import { expect, it } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { injected } from '../../src/skill/injected.js';
import { stateful } from '../../src/skill/stateful.js';
import type { Task } from '../../src/skill/task.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { autoSyncState } from '../../src/sync/auto-sync-state.js';
import { ConversationSync } from '../../src/sync/conversation-sync.js';
import { trackMessages } from '../../src/sync/track-messages.js';
import { ConversationRemote } from '../support/conversation-remote.js';

class Shop {
  @stateful()
  @trackMessages('user')
  @trackMessages('assistant')
  @autoSyncState()
  async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()): Promise<string> {
    await context.setVariable(contextId, 'payment_method', task.text);
    return `paid with ${task.text}`;
  }
}

it('the decorators of sync work as standard ones', async () => {
  await using remote = await new ConversationRemote().start();
  const storage = new MemoryStorage();
  const client = { baseUrl: remote.url, apiKey: remote.apiKey };
  await using sync = new ConversationSync({ storage, client, subDomain: 'shop', background: false });
  const task = { id: '1', contextId: 'c1', text: 'yape', userId: 'ana' };
  expect(await new Shop().handle(task, new ConversationContext(storage))).toBe('paid with yape');
  expect(await sync.flush()).toEqual({ pending: 0 });
  expect(await remote.said('ana')).toEqual(['yape', 'paid with yape']);
  expect(await remote.of('ana')).toMatchObject([{ localId: 'c1', context: { paymentMethod: 'yape' } }]);
});

it('they stand on methods only, below @stateful()', () => {
  expect(() => {
    class Wrong {
      @autoSyncState()
      @stateful()
      async handle(_task: Task): Promise<void> {}
    }
    return Wrong;
  }).toThrowError(expect.objectContaining({ code: 'DECORATOR_MISUSE' }));
});
