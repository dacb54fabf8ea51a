import { setTimeout as delay } from 'node:timers/promises';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { withState } from '../../src/skill/with-state.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';

/**
 * Takes turn after turn at one conversation, until it is killed; says when it has begun. The next one waits already
 * when one ends, so that there is hardly a moment at which somebody else could find the conversation free.
 */
const { options } = JSON.parse(process.argv[2] ?? '{}') as { options: StorageOptions };
const context = new ConversationContext(await openStorage(options));
const turn = withState(async (_task, inside, id) => {
  await inside.incrementVariable(id, 'n');
  await delay(25);
});
const task = { id: 't', contextId: 'shared', text: '' };
await turn(task, context);
process.stdout.write('begun\n');
const loop = async () => {
  for (;;) await turn(task, context);
};
await Promise.all([loop(), loop(), loop()]);
