import { setTimeout as delay } from 'node:timers/promises';
import { ValkeyStorage } from '../../../src/storage/valkey/valkey-storage.js';

/** What `processes.test.ts` runs in processes of their own. Reports each acknowledged round as a line. */
const [job = '', url = '', keyPrefix = '', rounds = '0'] = process.argv.slice(2);
const storage = new ValkeyStorage({ url, keyPrefix });
const key = { space: 'contexts', scope: [], id: 'shared' };
const say = (text: string): Promise<void> =>
  new Promise((resolve) => process.stdout.write(`${text}\n`, () => resolve()));

const jobs: Record<string, () => Promise<void>> = {
  /** Deltas without a lease. */
  async add() {
    for (let i = 0; i < Number(rounds); i++) {
      await Promise.all([
        storage.commit(key, [{ op: 'increment', field: 'n', by: 1 }]),
        storage.commit(key, [{ op: 'append', field: 'list', item: `"${process.pid}-${i}"` }]),
        storage.commit(key, [{ op: 'log', entry: `"${process.pid}-${i}"` }], { commitId: `${process.pid}-${i}` }),
      ]);
    }
  },

  /** Exclusive turns that read, wait, and write back. */
  async turns() {
    for (let i = 0; i < Number(rounds); i++) {
      const token = `${process.pid}-${i}`;
      let begun = await storage.begin(key, { token, leaseMs: 10_000 });
      while (begun.busy) {
        await delay(Math.min(begun.retryAfterMs, 1 + Math.random() * 10));
        begun = await storage.begin(key, { token, leaseMs: 10_000 });
      }
      const n = Number(begun.record?.fields.get('n') ?? 0);
      await delay(Math.random() * 5);
      await storage.commit(key, [{ op: 'set', field: 'n', value: String(n + 1) }], {
        lease: { token },
        commitId: token,
      });
    }
  },

  /** Whole commits until it is killed. */
  async crash() {
    const before = await storage.read(key);
    for (let n = Number(before?.fields.get('n') ?? 0) + 1; ; n++) {
      const changes = [
        { op: 'increment', field: 'n', by: 1 },
        { op: 'append', field: 'list', item: String(n) },
        { op: 'log', entry: String(n) },
        { op: 'set', field: 'text', value: JSON.stringify(`${n} `.repeat(50)) },
      ] as const;
      await storage.commit(key, changes, { expiry: { renew: 3_600 } });
      await say(String(n));
    }
  },

  /** A turn that says when it holds its lease, and commits when it is told to. */
  async hold() {
    await storage.begin(key, { token: 'held', leaseMs: Number(rounds) });
    await say('held');
    await new Promise((resolve) => process.stdin.once('data', resolve));
    const changes = [{ op: 'set', field: 'ghost', value: 'true' }] as const;
    await storage.commit(key, changes, { lease: { token: 'held' }, commitId: 'held' }).then(
      () => say('committed'),
      (error: { code: string }) => say(error.code),
    );
    process.stdin.destroy();
  },

  /** Leaves the storage open: the process must end all the same. */
  async leave() {
    await storage.commit(key, [{ op: 'touch' }], { expiry: { renew: 60 } });
    await say('done');
  },
};

await jobs[job]?.();
if (job !== 'leave') await storage.close();
