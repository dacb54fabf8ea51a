import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { FileStorage, MemoryStorage, type StateStorage, ValkeyStorage } from 'agentup';
import { EncryptedStorage, ObservedStorage } from 'agentup/storage';
import { agentup } from '../agentup.js';
import type { Place } from '../subject.js';
import type { BenchRun, Found } from '../support/bench-run.js';
import { conversationId } from '../support/conversation-ids.js';
import { interleaved } from '../support/interleaved.js';
import { median } from '../support/samples.js';
import { digits, table } from '../support/table.js';
import { warmUp } from '../support/warm-up.js';

const LENGTH = 100;
const CONVERSATIONS = 40;

const BACKENDS: Record<string, (place: Place, name: string) => StateStorage> = {
  memory: () => new MemoryStorage(),
  file: ({ directory }, name) => new FileStorage({ storageDir: join(directory, name) }),
  Valkey: ({ url }, name) => new ValkeyStorage({ url, keyPrefix: `${name}:` }),
};

const LAYERS: Record<string, (storage: StateStorage) => StateStorage> = {
  plain: (storage) => storage,
  encrypted: (storage) => new EncryptedStorage(storage, { key: randomBytes(32).toString('base64') }),
  'observed, no SDK': (storage) => new ObservedStorage(storage),
};

/** What the layers above a backend add to a turn. Medians in microseconds. */
export async function layers(run: BenchRun): Promise<Found> {
  const { rounds, place, progress } = run;
  const columns: Record<string, Record<string, number>> = {};
  for (const [backend, make] of Object.entries(BACKENDS)) {
    progress(`layers on ${backend}: ${rounds * 10} turns each`);
    const opened = await Promise.all(
      Object.entries(LAYERS).map(([name, wrap]) =>
        agentup(name, { kind: 'memory' }, () => wrap(make(place, `layers-${name.slice(0, 4)}`))).open(place),
      ),
    );
    for (const one of opened) {
      for (let i = 0; i < CONVERSATIONS; i++) await one.seed(conversationId(LENGTH, i), LENGTH);
    }
    const turns = opened.map((one) => (conversation: number) => one.turn(conversationId(LENGTH, conversation)));
    await warmUp(turns, CONVERSATIONS);
    const samples = await interleaved(turns, { conversations: CONVERSATIONS, rounds });
    for (const one of opened) await one.close();
    const names = Object.keys(LAYERS);
    columns[backend] = Object.fromEntries(names.map((name, index) => [name, median(samples[index] ?? [])]));
  }
  const head = ['median µs, 100 messages', ...Object.keys(BACKENDS)];
  const rows = Object.keys(LAYERS).map((name) => [
    name,
    ...Object.keys(BACKENDS).map((backend) => digits(columns[backend]?.[name] ?? Number.NaN)),
  ]);
  return { markdown: table(head, rows), data: columns };
}
