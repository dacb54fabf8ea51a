import { setTimeout as delay } from 'node:timers/promises';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { withState } from '../../src/skill/with-state.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';

/** Does `count` turns that read, wait and write; or one that stays for `stay` ms, and prints how it ended. */
const { options, count, stay } = JSON.parse(process.argv[2] ?? '{}') as {
  options: StorageOptions;
  count: number;
  stay?: number;
};
const storage = await openStorage(options);
// Whoever only counts is not to lose its lease to a machine that is busy for two seconds.
const context = new ConversationContext(storage, { lease: stay === undefined ? 30 : 2 });
const turn = withState(async (_task, inside, id) => {
  if (stay !== undefined) {
    await inside.setVariable(id, 'n', -1_000_000);
    await inside.addToHistory(id, 'user', 'of the dead');
    process.stdout.write('inside\n');
    await delay(stay);
    return;
  }
  const n = await inside.getVariable(id, 'n', 0);
  await delay(Math.random() * 5);
  await inside.setVariable(id, 'n', n + 1);
});
const task = { id: 't', contextId: 'shared', text: '' };
if (stay !== undefined) {
  const ended = await turn(task, context).then(
    () => 'committed',
    (error: { code?: string }) => error.code,
  );
  process.stdout.write(`${ended}\n`);
} else for (let i = 0; i < count; i++) await turn(task, context);
await storage.close();
