import { join } from 'node:path';
import { FileStorage, MemoryStorage, type StateStorage, ValkeyStorage, withState } from 'agentup';
import { ConversationSync } from 'agentup/sync';
import { ConversationRemote, type Mood } from '../../test/support/conversation-remote.js';
import type { BenchRun, Found } from '../support/bench-run.js';
import { quantile } from '../support/samples.js';
import { digits, table } from '../support/table.js';

const CALLS = 1_000;
const USERS = 20;

/** How the remote is while the app goes on: `undefined`, nobody listens there. */
const REMOTES: readonly { readonly name: string; readonly mood: Mood | undefined }[] = [
  { name: 'up', mood: 'up' },
  { name: 'slow (5 s)', mood: { slowMs: 5_000 } },
  { name: 'dead', mood: undefined },
];

/** What the app waits for a call of the sync, by how its remote is. */
export async function sync(run: BenchRun): Promise<Found> {
  const opens: Record<string, (at: number) => StateStorage> = {
    memory: () => new MemoryStorage(),
    file: (at) => new FileStorage({ storageDir: join(run.place.directory, `sync-${at}`) }),
    Valkey: (at) => new ValkeyStorage({ url: run.place.url, keyPrefix: `bench-sync-${at}:` }),
  };
  const rows: { name: string; cells: string[]; data: Record<string, unknown> }[] = [];
  let at = 0;
  for (const [backend, open] of Object.entries(opens)) {
    for (const inTurn of [false, true]) {
      const name = `${backend}, ${inTurn ? 'in a turn' : 'addMessage'}`;
      run.progress(`sync: ${name}`);
      const cells: string[] = [];
      const data: Record<string, unknown> = { name };
      for (const remote of REMOTES) {
        const waited = await measure(open(++at), remote.mood, inTurn);
        const found = { median: quantile(waited, 0.5), p99: quantile(waited, 0.99), max: Math.max(...waited) };
        data[remote.name] = found;
        cells.push(`${digits(found.median)}, ${digits(found.p99)}, ${digits(found.max)}`);
      }
      rows.push({ name, cells, data });
    }
  }
  const head = ['µs until a call returns: median, p99, longest', ...REMOTES.map(({ name }) => `remote ${name}`)];
  return {
    markdown: `${CALLS} messages of ${USERS} users, one after the other; a call ends by 2 s.\n\n${table(
      head,
      rows.map(({ name, cells }) => [name, ...cells]),
    )}`,
    data: rows.map(({ data }) => data),
  };
}

/** Microseconds of each call; in a turn those of the call within it. */
async function measure(storage: StateStorage, mood: Mood | undefined, inTurn: boolean): Promise<number[]> {
  const remote = await new ConversationRemote().start();
  const { url } = remote;
  if (mood === undefined) await remote.stop();
  else remote.mood = () => mood;
  const sync = new ConversationSync({ storage, client: { baseUrl: url, apiKey: remote.apiKey }, subDomain: 'shop' });
  const waited: number[] = [];
  const say = async (userId: string, text: string): Promise<void> => {
    const begun = performance.now();
    const { status } = await sync.addMessage(userId, 'user', text);
    waited.push((performance.now() - begun) * 1_000);
    if (status !== 'queued') throw new Error(`a message was ${status}`);
  };
  const turn = withState((task) => say(task.userId ?? '', task.text), { storage });
  try {
    for (let i = 0; i < CALLS; i++) {
      const userId = `user${i % USERS}`;
      if (inTurn) await turn({ id: `${i}`, contextId: userId, text: `message ${i}`, userId });
      else await say(userId, `message ${i}`);
    }
    return waited;
  } finally {
    await sync.close();
    await remote[Symbol.asyncDispose]();
    await storage.close();
  }
}
