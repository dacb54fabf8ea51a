import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { withState } from '../../src/skill/with-state.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';
import { ConversationSync } from '../../src/sync/conversation-sync.js';

/** An app: notes the messages from `from` to `to`, half of them in turns, and stays until it is killed or told to drain. */
const { options, url, from, to, users, drain } = JSON.parse(process.argv[2] ?? '{}') as {
  options: StorageOptions;
  url: string;
  from: number;
  to: number;
  users: number;
  drain: boolean;
};
const say = (line: string) => void process.stdout.write(`${line}\n`);
const storage = await openStorage(options);
const context = new ConversationContext(storage);
const sync = new ConversationSync({
  storage,
  client: { baseUrl: url, apiKey: 'test-key', timeoutMs: 400, retries: 0 },
  subDomain: 'shop',
  leaseMs: 600,
  everyMs: 100,
  backoff: { baseMs: 20, maxMs: 200 },
});
const waited: number[] = [];
const handle = withState(async (task: { id: string; contextId: string; text: string; userId: string }) => {
  const begun = performance.now();
  const { status } = await sync.addMessage(task.userId, 'user', task.text);
  waited.push(performance.now() - begun);
  if (status !== 'queued') throw new Error(status);
});
for (let i = from; i < to; i++) {
  const userId = `user${i % users}`;
  // One after the other for each user, as they write.
  if (i % 4 < 2) await handle({ id: `${i}`, contextId: userId, text: `m${i}`, userId }, context);
  else {
    const begun = performance.now();
    const { status } = await sync.addMessage(userId, 'user', `m${i}`);
    waited.push(performance.now() - begun);
    if (status !== 'queued') throw new Error(status);
  }
}
say(JSON.stringify(waited));
if (drain) {
  while ((await sync.flush()).pending > 0 || (await sync.status()).pending > 0);
  await sync.close();
  await storage.close();
} else setInterval(() => {}, 1_000);
