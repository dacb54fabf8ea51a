import { setTimeout as delay } from 'node:timers/promises';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { withState } from '../../src/skill/with-state.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';

/** Handles the message `m1`, staying in the handler for a while, and prints what it replied. */
const { options, contextId, stay, concurrency } = JSON.parse(process.argv[2] ?? '{}') as {
  options: StorageOptions;
  contextId: string;
  stay: number;
  concurrency?: 'parallel';
};
const storage = await openStorage(options);
const context = new ConversationContext(storage, { lease: 2, concurrency });
// By its name the same handler as that of the test.
const handler = withState(async function counting(_task, inside, id) {
  process.stdout.write('inside\n');
  await delay(stay);
  await inside.incrementVariable(id, 'n');
  return 'from the other';
});
const reply = await handler({ id: 't1', contextId, text: 'hi', messageId: 'm1' }, context);
process.stdout.write(`replied ${reply}\n`);
await storage.close();
