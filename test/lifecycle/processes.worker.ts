import { setTimeout as delay } from 'node:timers/promises';
import { createAgent } from '../../src/agent/create-agent.js';
import type { ConversationContext } from '../../src/conversation/conversation-context.js';
import { onConversationEnded, onConversationStarted } from '../../src/skill/hooks.js';
import { injected } from '../../src/skill/injected.js';
import { skill } from '../../src/skill/skill.js';
import { stateful } from '../../src/skill/stateful.js';
import type { Task } from '../../src/skill/task.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';

/** An agent that handles `count` messages of the conversation `shared`, or looks after ends for `watchMs`. */
const { options, count, watchMs, stay } = JSON.parse(process.argv[2] ?? '{}') as {
  options: StorageOptions;
  count: number;
  watchMs: number;
  stay: number;
};
const say = (line: string) => void process.stdout.write(`${line}\n`);
const storage = await openStorage(options);

@skill({ id: 'counter' })
class Counter {
  @onConversationStarted()
  async begin(): Promise<void> {
    await delay(20);
    say('started');
  }

  @onConversationEnded()
  async finish(_event: object, context: ConversationContext, contextId: string): Promise<void> {
    say(`ending ${await context.getVariable(contextId, 'n')}`);
    await delay(stay);
    say('ended');
  }

  @stateful({ storage, ttl: 1 })
  async handle(_task: Task, context: ConversationContext = injected(), contextId: string = injected()) {
    return context.incrementVariable(contextId, 'n');
  }
}

const agent = await createAgent({ state: { backend: 'memory', lease: 1 } }, { skills: [Counter] });
if (count > 0) {
  for (let i = 0; i < count; i++) await agent.handle({ id: `${i}`, contextId: 'shared', text: '' });
} else {
  const stop = agent.conversations.watch({ everyMs: 50 });
  await delay(watchMs);
  await stop();
}
await agent.close();
await storage.close();
