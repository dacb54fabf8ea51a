import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { withState } from '../../src/skill/with-state.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';

/** An agent that talks: two turns in each of `count` conversations, several at a time. Prints `talking` after the first. */
const { options, count } = JSON.parse(process.argv[2] ?? '') as { options: StorageOptions; count: number };
const storage = await openStorage(options);
const context = new ConversationContext(storage);
const turn = withState(async function turn(task, inside, id) {
  await inside.addToHistory(id, 'user', task.text);
  return inside.incrementVariable(id, 'turns');
});
let next = 0;
const talk = async (): Promise<void> => {
  while (next < count) {
    const contextId = `talk ${next++}`;
    for (const text of ['one', 'two']) {
      await turn({ id: `${contextId} ${text}`, contextId, text }, context);
      if (contextId === 'talk 0') console.log('talking');
    }
  }
};
await Promise.all([talk(), talk(), talk()]);
await storage.close();
