import { type StateStorage, ValkeyStorage, withState } from 'agentup';
import { Redis } from 'iovalkey';
import { startValkeyCluster } from '../test/support/valkey-cluster.js';
import { startValkey } from '../test/support/valkey-server.js';
import { type Case, interleaved } from './measure.js';

const ROUNDS = Number(process.env['AGENTUP_BENCH_ROUNDS'] ?? 60);
const AT_ONCE = 64;

/** What it costs to wait for a replica, and what a cluster costs: one turn at a time, and many at once. */
const primary = await startValkey(['--repl-diskless-sync-delay', '0']);
const replica = await startValkey(['--replicaof', `127.0.0.1 ${primary.port}`]);
const admin = new Redis(primary.url);
while (!(await admin.info('replication')).includes('state=online')) await new Promise((done) => setTimeout(done, 20));
const valkey = await startValkeyCluster();

const durability = { replicas: 1 };
const keyPrefix = 'bench:';
const storages: Record<string, StateStorage> = {
  'primary with a replica': new ValkeyStorage({ url: primary.url, keyPrefix }),
  'the same, replicas: 1': new ValkeyStorage({ url: primary.url, keyPrefix, durability }),
  cluster: new ValkeyStorage({ url: valkey.url, cluster: true, keyPrefix }),
  'cluster, replicas: 1': new ValkeyStorage({ url: valkey.url, cluster: true, keyPrefix, durability }),
};

function turns(name: string, storage: StateStorage, atOnce: number): Case {
  const turn = withState(
    async (task, context, id) => {
      await context.incrementVariable(id, 'visits');
      await context.addToHistory(id, 'user', task.text);
    },
    { storage, history: 10 },
  );
  const run = (conversation: number) => turn({ id: `${name}-${conversation}`, text: 'x'.repeat(300) });
  return {
    name,
    prepare: async () => async (conversation) =>
      atOnce === 1 ? run(conversation) : Promise.all(Array.from({ length: atOnce }, (_, i) => run(i))),
  };
}

try {
  const cases = (atOnce: number) => Object.entries(storages).map(([name, storage]) => turns(name, storage, atOnce));
  const single = await interleaved(cases(1), 0, ROUNDS);
  const many = await interleaved(cases(AT_ONCE), 0, Math.ceil(ROUNDS / 4));
  console.log(`| | one turn at a time, µs | a turn when ${AT_ONCE} run at once, µs |\n| --- | --- | --- |`);
  for (const [i, { name, median }] of single.entries()) {
    console.log(`| ${name} | ${median.toFixed(0)} | ${((many[i]?.median ?? Number.NaN) / AT_ONCE).toFixed(0)} |`);
  }
} finally {
  await Promise.all(Object.values(storages).map((storage) => storage.close()));
  admin.disconnect();
  await Promise.all([replica.stop(), primary.stop(), valkey.stop()]);
}
