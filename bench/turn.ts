import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ConversationContext,
  FileStorage,
  MemoryStorage,
  type StateStorage,
  type Task,
  ValkeyStorage,
  withState,
} from 'agentup';
import { startValkey } from '../test/support/valkey-server.js';
import { appendFileFloor, mapFloor, scriptFloor } from './floors.js';
import { type Case, forEachConversation, interleaved, table } from './measure.js';

const BLOB = 'x'.repeat(200);
const SAID = 'y'.repeat(300);
const LENGTHS = [0, 100, 1000];
const ROUNDS = Number(process.env['AGENTUP_BENCH_ROUNDS'] ?? 60);

/** The turn that all rows do. */
async function work(task: Task, context: ConversationContext, id: string): Promise<number> {
  const history = await context.getHistory(id, { limit: 10 });
  const name = await context.getVariable(id, 'name', 'nobody');
  const preferences = await context.getVariable(id, 'preferences', { theme: 'light' });
  const visits = await context.incrementVariable(id, 'visits');
  await context.setVariable(id, 'last', BLOB);
  await context.addToHistory(id, 'user', SAID);
  await context.addToHistory(id, 'assistant', SAID);
  await context.setMetadata(id, 'channel', task.text);
  return history.length + visits + name.length + preferences.theme.length;
}

function agentup(name: string, floor: string, storage: StateStorage): Case {
  const handler = withState(work, { storage, history: 10 });
  return {
    name,
    floor,
    async prepare(existing) {
      await forEachConversation(async (conversation) => {
        const id = `${existing}-${conversation}`;
        await withState(
          async (_task, context, contextId) => {
            await context.setVariable(contextId, 'name', 'Ada');
            await context.setVariable(contextId, 'preferences', { theme: 'dark' });
            for (let i = 0; i < existing; i++) await context.addToHistory(contextId, 'user', SAID);
          },
          { storage },
        )({ id, text: '' });
      });
      return (conversation) => handler({ id: `${existing}-${conversation}`, text: 'bench' });
    },
  };
}

const directory = await mkdtemp(join(tmpdir(), 'agentup-bench-'));
const valkey = await startValkey();
const storages = {
  memory: new MemoryStorage(),
  interval: new FileStorage({ storageDir: join(directory, 'interval') }),
  commit: new FileStorage({ storageDir: join(directory, 'commit'), durability: 'commit' }),
  valkey: new ValkeyStorage({ url: valkey.url, keyPrefix: 'bench:' }),
};
const scripts = scriptFloor(valkey.url);
const cases: Case[] = [
  mapFloor('floor: a Map, cloning what the turn touches'),
  agentup('agentup, memory', 'floor: a Map, cloning what the turn touches', storages.memory),
  appendFileFloor('floor: one appendFile', join(directory, 'append.log')),
  agentup('agentup, file, interval', 'floor: one appendFile', storages.interval),
  agentup('agentup, file, commit', 'floor: one appendFile', storages.commit),
  scripts.case('floor: two pipelined iovalkey round trips'),
  agentup('agentup, Valkey', 'floor: two pipelined iovalkey round trips', storages.valkey),
];

try {
  const results = [];
  for (const existing of LENGTHS) {
    process.stderr.write(`turns on ${existing} messages …\n`);
    results.push(await interleaved(cases, existing, ROUNDS));
  }
  console.log(
    `A turn: 10 messages and 2 variables read, 1 increment, 200 B set, 2 messages of 300 B, 1 metadata entry.`,
  );
  console.log(`Node ${process.version}, ${ROUNDS * 10} turns a cell, all rows interleaved in one run.\n`);
  console.log(table(LENGTHS, results));
} finally {
  await Promise.all(Object.values(storages).map((storage) => storage.close()));
  await scripts.close();
  await valkey.stop();
  await rm(directory, { recursive: true, force: true });
}
