import { fileURLToPath } from 'node:url';
import { ConversationContext, withState } from 'agentup';
import { sqliteStorage } from './sqlite-storage.js';

// Each run is a process of its own: the second one finds what the first has left in the file.
const storage = sqliteStorage(fileURLToPath(new URL('conversations.sqlite', import.meta.url)));
const contextId = process.argv[2] ?? 'carol';

const greet = withState(
  async (task, context, id) => {
    const visits = await context.incrementVariable(id, 'visits');
    const [last] = (await context.getHistory(id)).slice(-1);
    await context.addToHistory(id, 'user', task.text);
    return `Visit ${visits}. ${last ? `Last time you said "${last.content}".` : 'Nice to meet you.'}`;
  },
  { storage },
);

for (const text of ['hello', `it is ${new Date().toISOString().slice(0, 10)}`]) {
  console.log(`you    ${text}`);
  console.log(`agent  ${await greet({ id: 'task', contextId, text })}`);
}
for await (const { contextId: id, updatedAt } of new ConversationContext(storage).listContexts()) {
  console.log(`kept   ${id}, last written ${updatedAt}`);
}
await storage.close();
