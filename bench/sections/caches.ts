import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FileStorage, MemoryStorage, type StateStorage, ValkeyStorage } from 'agentup';
import { createCaches, type TableCache } from 'agentup/caches';
import { Redis } from 'iovalkey';
import type { BenchRun, Found } from '../support/bench-run.js';
import { interleaved, type Operation } from '../support/interleaved.js';
import { median } from '../support/samples.js';
import { digits, table } from '../support/table.js';
import { warmUp } from '../support/warm-up.js';

const ROWS = 1_000;
const ROW = { name: 'Large pizza', price: 15.99, category: 'pizza', available: true, tags: ['a', 'b'] };
const OPERATIONS = ['get', 'set', 'setField', 'incrementField', 'getAll'] as const;
type Operations = Record<(typeof OPERATIONS)[number], Operation>;

/** One operation of a cache beside the least that does the same: a Map, a file, a raw command of iovalkey. */
export async function caches(run: BenchRun): Promise<Found> {
  const { url, directory } = run.place;
  const client = new Redis(url);
  const storages: Record<string, StateStorage> = {
    memory: new MemoryStorage(),
    file: new FileStorage({ storageDir: join(directory, 'caches') }),
    Valkey: new ValkeyStorage({ url, keyPrefix: 'bench:' }),
  };
  try {
    run.progress('making rows');
    const subjects: Record<string, Operations> = {
      'floor: a Map, cloning the row': mapFloor(),
      'agentup, memory': await cacheOf(storages['memory'] as StateStorage),
      'floor: a file for each row': fileFloor(directory),
      'agentup, file': await cacheOf(storages['file'] as StateStorage),
      'floor: raw iovalkey commands': await valkeyFloor(client),
      'agentup, Valkey': await cacheOf(storages['Valkey'] as StateStorage),
    };
    const names = Object.keys(subjects);
    const medians: Record<string, number[]> = {};
    for (const operation of OPERATIONS) {
      run.progress(operation);
      const rounds = operation === 'getAll' ? Math.ceil(run.rounds / 6) : run.rounds;
      const operations = names.map((name) => (subjects[name] as Operations)[operation]);
      if (operation !== 'getAll') await warmUp(operations, ROWS);
      const samples = await interleaved(operations, { conversations: ROWS, rounds });
      medians[operation] = samples.map((own) => median(own));
    }
    const rows = names.map((name, i) => [
      name,
      ...OPERATIONS.map((operation) => {
        const own = medians[operation] as number[];
        // The floor of each stands in the row above it.
        const ratio = i % 2 === 1 ? ` (${digits((own[i] ?? Number.NaN) / (own[i - 1] ?? Number.NaN))}×)` : '';
        return `${digits(own[i] ?? Number.NaN)}${ratio}`;
      }),
    ]);
    const head = ['median µs (× its floor)', ...OPERATIONS.slice(0, -1), `getAll of ${ROWS}`];
    return { markdown: table(head, rows), data: medians };
  } finally {
    await Promise.all(Object.values(storages).map((storage) => storage.close()));
    client.disconnect();
  }
}

async function cacheOf(storage: StateStorage): Promise<Operations> {
  const cache: TableCache = createCaches({ storage, tenantId: 'bench' }).tableCache;
  for (let i = 0; i < ROWS; i += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, k) => cache.set('rows', `row ${i + k}`, { ...ROW, n: 0 })));
  }
  return {
    get: (i) => cache.get('rows', `row ${i}`),
    set: (i) => cache.set('rows', `row ${i}`, { ...ROW, n: i }),
    setField: (i) => cache.setField('rows', `row ${i}`, 'available', false),
    incrementField: (i) => cache.incrementField('rows', `row ${i}`, 'n'),
    getAll: () => cache.getAll('rows'),
  };
}

function mapFloor(): Operations {
  const rows = new Map(Array.from({ length: ROWS }, (_, i) => [`row ${i}`, { ...ROW, n: 0 }]));
  const at = (i: number) => rows.get(`row ${i}`) as typeof ROW & { n: number };
  return {
    get: async (i) => structuredClone(at(i)),
    set: async (i) => rows.set(`row ${i}`, structuredClone({ ...ROW, n: i })),
    setField: async (i) => {
      at(i).available = false;
    },
    incrementField: async (i) => ++at(i).n,
    getAll: async () => structuredClone([...rows]),
  };
}

function fileFloor(directory: string): Operations {
  const path = (i: number) => join(directory, `floor-${i}.json`);
  const text = JSON.stringify({ ...ROW, n: 0 });
  const write = async (i: number) => writeFileSync(path(i), text);
  const append = async (i: number) => appendFileSync(path(i), '\n');
  for (let i = 0; i < ROWS; i++) writeFileSync(path(i), text);
  const read = (i: number): unknown => JSON.parse(readFileSync(path(i), 'utf8'));
  const getAll = async () => Array.from({ length: ROWS }, (_, i) => read(i));
  return { get: async (i) => read(i), set: write, setField: append, incrementField: append, getAll };
}

async function valkeyFloor(client: Redis): Promise<Operations> {
  const fields = Object.entries({ ...ROW, n: 0 }).flatMap(([name, value]) => [name, JSON.stringify(value)]);
  const key = (i: number) => `floor:row ${i}`;
  const parsed = (hash: Record<string, string>) =>
    Object.fromEntries(Object.entries(hash).map(([name, token]) => [name, JSON.parse(token) as unknown]));
  for (let i = 0; i < ROWS; i++) await client.hset(key(i), ...fields);
  return {
    get: async (i) => parsed(await client.hgetall(key(i))),
    set: (i) => client.hset(key(i), ...fields),
    setField: (i) => client.hset(key(i), 'available', 'false'),
    incrementField: (i) => client.hincrby(key(i), 'n', 1),
    getAll: async () => (await Promise.all(Array.from({ length: ROWS }, (_, i) => client.hgetall(key(i))))).map(parsed),
  };
}
