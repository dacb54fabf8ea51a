import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConversationContext, FileStorage, MemoryStorage, type StateStorage, ValkeyStorage } from 'agentup';
import { migrate } from 'agentup/operations';
import { Redis } from 'iovalkey';
import type { BenchRun, Found } from '../support/bench-run.js';
import { digits, table } from '../support/table.js';

const COUNT = Number(process.env['AGENTUP_BENCH_CONVERSATIONS'] ?? 1_000);
const MESSAGES = 10;
/** Of a raw copy, conversations that are asked for at once. */
const BATCH = 100;

interface Raw {
  readonly id: string;
  readonly fields: Record<string, string>;
  readonly log: string[];
}

/** Conversations per second from one storage to the next, proven equal; beside a copy that does only the copying. */
export async function migration(run: BenchRun): Promise<Found> {
  const { url, directory } = run.place;
  const client = new Redis(url);
  const memory = new MemoryStorage();
  const files = new FileStorage({ storageDir: join(directory, 'first') });
  const valkey = new ValkeyStorage({ url, keyPrefix: 'migration:' });
  const last = new FileStorage({ storageDir: join(directory, 'last') });
  try {
    run.progress(`making ${COUNT} conversations`);
    const raw = await fill(memory);
    const [one, two] = [join(directory, 'raw-1'), join(directory, 'raw-2')];
    const steps: [name: string, from: StateStorage, to: StateStorage, copy: () => Promise<void>][] = [
      ['memory → file', memory, files, async () => toFiles(one, raw)],
      ['file → Valkey', files, valkey, () => toValkey(client, one)],
      ['Valkey → file', valkey, last, () => toFilesAgain(client, two, raw)],
    ];
    const found: { name: string; migrated: number; copied: number }[] = [];
    let digest = '';
    for (const [name, from, to, copy] of steps) {
      run.progress(name);
      const seconds = await timed(async () => {
        const report = await migrate(from, to);
        if (report.copied !== COUNT || (digest !== '' && report.digest !== digest))
          throw new Error(`${name} lost something`);
        digest = report.digest;
      });
      found.push({ name, migrated: COUNT / seconds, copied: COUNT / (await timed(copy)) });
    }
    const rows = found.map(({ name, migrated, copied }) => [
      name,
      digits(migrated),
      digits(copied),
      digits(copied / migrated),
    ]);
    const head = [`${COUNT} conversations of ${MESSAGES} messages`, 'migrated per s', 'raw copy per s', 'ratio'];
    return { markdown: table(head, rows), data: found };
  } finally {
    await Promise.all([memory, files, valkey, last].map((storage) => storage.close()));
    client.disconnect();
  }
}

async function fill(memory: MemoryStorage): Promise<Raw[]> {
  const context = new ConversationContext(memory, { ttl: 7_200 });
  const raw: Raw[] = [];
  for (let i = 0; i < COUNT; i++) {
    const id = `conversation-${i}`;
    await context.getOrCreate(id, { userId: `user-${i % 100}` });
    await context.setVariable(id, 'profile', { name: `user ${i}`, notes: 'x'.repeat(200) });
    await context.setMetadata(id, 'channel', 'web');
    for (let n = 0; n < MESSAGES; n++) await context.addToHistory(id, n % 2 ? 'assistant' : 'user', 'm'.repeat(300));
    const record = await memory.read(context.keyOf(id), { log: MESSAGES });
    if (record) raw.push({ id, fields: Object.fromEntries(record.fields), log: record.log });
  }
  return raw;
}

function toFiles(directory: string, raw: readonly Raw[]): void {
  mkdirSync(directory);
  for (const one of raw) writeFileSync(join(directory, `${one.id}.json`), JSON.stringify(one));
}

async function toValkey(client: Redis, directory: string): Promise<void> {
  const names = readdirSync(directory);
  for (let at = 0; at < names.length; at += BATCH) {
    const pipeline = client.pipeline();
    for (const name of names.slice(at, at + BATCH)) {
      const { id, fields, log } = JSON.parse(readFileSync(join(directory, name), 'utf8')) as Raw;
      pipeline.hset(`raw:${id}`, fields).rpush(`raw:${id}:log`, ...log);
    }
    await pipeline.exec();
  }
}

async function toFilesAgain(client: Redis, directory: string, raw: readonly Raw[]): Promise<void> {
  mkdirSync(directory);
  for (let at = 0; at < raw.length; at += BATCH) {
    const batch = raw.slice(at, at + BATCH);
    const pipeline = client.pipeline();
    for (const { id } of batch) pipeline.hgetall(`raw:${id}`).lrange(`raw:${id}:log`, 0, -1);
    const answers = (await pipeline.exec()) ?? [];
    for (const [i, { id }] of batch.entries()) {
      const whole = { id, fields: answers[2 * i]?.[1], log: answers[2 * i + 1]?.[1] };
      writeFileSync(join(directory, `${id}.json`), JSON.stringify(whole));
    }
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}
