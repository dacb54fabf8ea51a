import { setTimeout as delay } from 'node:timers/promises';
import { Cluster } from 'iovalkey';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { withState } from '../../src/skill/with-state.js';
import { ValkeyStorage } from '../../src/storage/valkey/valkey-storage.js';
import type { ValkeyStorageOptions } from '../../src/storage/valkey/valkey-storage-options.js';

/** What a worker of the failover tests is told. */
export interface Orders {
  readonly name: string;
  /** Each is one storage, with turns of its own. */
  readonly groups: readonly (ValkeyStorageOptions & { readonly url: string })[];
  /** Seconds. */
  readonly lease: number;
  /** Through a Cluster of iovalkey instead of the url. */
  readonly ownClient: boolean;
  readonly conversations: number;
  /** For each group. */
  readonly loops: number;
}

/** One turn, and what its caller was told. */
export interface Outcome {
  readonly group: number;
  readonly contextId: string;
  readonly entry: string;
  readonly error?: string;
}

/** Runs turns in several loops until it is told to stop by SIGTERM, and prints what became of each. */
const { name, groups, lease, ownClient, conversations, loops } = JSON.parse(process.argv[2] ?? '{}') as Orders;
const turn = withState(async (task, inside, id) => {
  await inside.incrementVariable(id, 'n');
  await inside.addToHistory(id, 'user', task.text);
});

const { ppid } = process;
let stopping = false;
process.once('SIGTERM', () => {
  stopping = true;
});
const outcomes: Outcome[] = [];
let count = 0;
const loop = async (group: number, context: ConversationContext, own: string | undefined): Promise<void> => {
  // Nobody stops it when the test that started it has been ended itself.
  while (!stopping && process.ppid === ppid) {
    const contextId = own ?? `c${Math.floor(Math.random() * conversations)}`;
    const entry = `${name}-${count++}`;
    try {
      await turn({ id: entry, contextId, text: entry }, context);
      outcomes.push({ group, contextId, entry });
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      outcomes.push({ group, contextId, entry, error: `${code}: ${message}` });
    }
    if (outcomes.length === 200) process.stdout.write('running\n');
    // Those that no failover stops would fill their histories with nothing new.
    if (own) await delay(5);
  }
};

await Promise.all(
  groups.map(async (options, group) => {
    const { url, cluster: _, ...others } = options;
    const { hostname: host, port } = new URL(url);
    const client = ownClient ? new Cluster([{ host, port: Number(port) }]) : undefined;
    const storage = new ValkeyStorage(client ? { ...others, client } : options);
    const context = new ConversationContext(storage, { lease, wait: 60 });
    // Half of them keep to one conversation, so that on each node somebody goes on while others wait for theirs.
    const own = (i: number) => (i < loops / 2 ? `c${i}` : undefined);
    await Promise.all(Array.from({ length: loops }, (_, i) => loop(group, context, own(i))));
    await storage.close();
    client?.disconnect();
  }),
);
process.stdout.write(`${JSON.stringify(outcomes)}\n`);
