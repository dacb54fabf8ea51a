import { setTimeout as delay } from 'node:timers/promises';
import { type StateStorage, ValkeyStorage, withState } from 'agentup';
import { Redis } from 'iovalkey';
import { startValkeyCluster } from '../../test/support/valkey-cluster.js';
import { startValkey } from '../../test/support/valkey-server.js';
import type { BenchRun, Found } from '../support/bench-run.js';
import { interleaved, type Operation } from '../support/interleaved.js';
import { median } from '../support/samples.js';
import { digits, table } from '../support/table.js';

const AT_ONCE = 64;
const SAID = 'x'.repeat(300);

/** What it costs to wait for a replica, and what a cluster costs: one turn at a time, and many at once. */
export async function replication(run: BenchRun): Promise<Found> {
  run.progress('starting a primary with a replica, and a cluster');
  const primary = await startValkey(['--repl-diskless-sync-delay', '0']);
  const replica = await startValkey(['--replicaof', `127.0.0.1 ${primary.port}`]);
  const admin = new Redis(primary.url);
  while (!(await admin.info('replication')).includes('state=online')) await delay(20);
  admin.disconnect();
  const cluster = await startValkeyCluster();
  const keyPrefix = 'bench:';
  const durability = { replicas: 1 };
  const storages: Record<string, StateStorage> = {
    'primary with a replica': new ValkeyStorage({ url: primary.url, keyPrefix }),
    'the same, replicas: 1': new ValkeyStorage({ url: primary.url, keyPrefix, durability }),
    cluster: new ValkeyStorage({ url: cluster.url, cluster: true, keyPrefix }),
    'cluster, replicas: 1': new ValkeyStorage({ url: cluster.url, cluster: true, keyPrefix, durability }),
  };
  try {
    run.progress('turns with and without waiting for a replica');
    const turns = Object.values(storages).map(turnOn);
    const single = await interleaved(turns, { conversations: 40, rounds: run.rounds });
    const together = turns.map(
      (turn): Operation =>
        () =>
          Promise.all(Array.from({ length: AT_ONCE }, (_, i) => turn(i))),
    );
    const many = await interleaved(together, { conversations: 1, rounds: Math.ceil(run.rounds / 4) });
    const rows = Object.keys(storages).map((name, i) => ({
      name,
      single: median(single[i] ?? []),
      many: median(many[i] ?? []) / AT_ONCE,
    }));
    const head = ['', 'one turn at a time, µs', `a turn when ${AT_ONCE} run at once, µs`];
    return {
      markdown: table(
        head,
        rows.map((row) => [row.name, digits(row.single), digits(row.many)]),
      ),
      data: rows,
    };
  } finally {
    await Promise.all(Object.values(storages).map((storage) => storage.close()));
    await Promise.all([replica.stop(), primary.stop(), cluster.stop()]);
  }
}

function turnOn(storage: StateStorage): Operation {
  const turn = withState(
    async (task, context, id) => {
      await context.incrementVariable(id, 'visits');
      await context.addToHistory(id, 'user', task.text);
    },
    { storage, history: 10 },
  );
  return (conversation) => turn({ id: `c${conversation}`, text: SAID });
}
