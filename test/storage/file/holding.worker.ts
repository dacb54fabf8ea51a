import { setTimeout as delay } from 'node:timers/promises';
import { FileStorage } from '../../../src/storage/file/file-storage.js';

/** Holds turns at the records `t0`, `t1` …, and commits them when it is told to; prints what it has done. */
const {
  directory,
  turns = 1,
  leaseMs = 60_000,
} = JSON.parse(process.argv[2] ?? '{}') as {
  directory: string;
  turns?: number;
  leaseMs?: number;
};
const say = (line: string) => new Promise((written) => process.stdout.write(`${line}\n`, written));
const storage = new FileStorage({ storageDir: directory });
const key = (n: number) => ({ space: 'contexts', scope: [], id: `t${n}` });
const values: number[] = [];
for (let n = 0; n < turns; n++) {
  const options = { token: `worker-${n}`, leaseMs };
  let begun = await storage.begin(key(n), options);
  while (begun.busy) {
    await delay(5);
    begun = await storage.begin(key(n), options);
  }
  values.push(Number(begun.record?.fields.get('n') ?? 0));
}
const told = new Promise((done) => process.once('SIGUSR2', done));
await say('begun');
// A signal that is waited for keeps no process.
const stay = setInterval(() => {}, 60_000);
await told;
// Where it is asked, it hears of it before the next turn of the event loop.
await delay(30);
const answers = new Set<string>();
for (const [n, value] of values.entries()) {
  const changes = [{ op: 'set' as const, field: 'n', value: String(value + 1) }];
  const answer = await storage.commit(key(n), changes, { lease: { token: `worker-${n}` } }).then(
    () => 'committed',
    (error: { code: string }) => error.code,
  );
  answers.add(answer);
}
await say([...answers].join(' '));
clearInterval(stay);
await storage.close();
