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
type Operations = Partial<Record<(typeof OPERATIONS)[number], Operation>>;

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
      'our script, sent by iovalkey': await ownScript(client),
      'agentup, Valkey': await cacheOf(storages['Valkey'] as StateStorage),
    };
    const medians: Record<string, Record<string, number>> = {};
    for (const operation of OPERATIONS) {
      run.progress(operation);
      const rounds = operation === 'getAll' ? Math.ceil(run.rounds / 6) : run.rounds;
      const able = Object.entries(subjects).flatMap(([name, { [operation]: call }]) => (call ? [{ name, call }] : []));
      const operations = able.map(({ call }) => call);
      if (operation !== 'getAll') await warmUp(operations, ROWS);
      const samples = await interleaved(operations, { conversations: ROWS, rounds });
      medians[operation] = Object.fromEntries(able.map(({ name }, i) => [name, median(samples[i] ?? [])]));
    }
    let floor = '';
    const rows = Object.keys(subjects).map((name) => {
      if (name.startsWith('floor')) floor = name;
      const cells = OPERATIONS.map((operation) => {
        const { [name]: own, [floor]: least = Number.NaN } = medians[operation] ?? {};
        if (own === undefined) return '–';
        return name === floor ? digits(own) : `${digits(own)} (${digits(own / least)}×)`;
      });
      return [name, ...cells];
    });
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

/** Writes of the storage's own script with the arguments of ours, and nothing around it. */
async function ownScript(client: Redis): Promise<Operations> {
  const source = readFileSync(new URL('../../src/storage/valkey/lua/commit.lua', import.meta.url), 'utf8');
  const sha = (await client.script('LOAD', source)) as string;
  const fields = Object.entries({ ...ROW, n: 0 }).flatMap(([name, value]) => ['s', `f:${name}`, JSON.stringify(value)]);
  let ids = 0;
  const commit = (i: number, isKnown: boolean, changes: readonly string[]) => {
    const id = `bench-${(ids++).toString(36)}`;
    const args = ['', '0', id, isKnown ? '0' : '1', ...changes, 's', 'tag', `"${id}"`];
    return client.evalsha(sha, 1, `own:{rows/:${i}}`, ...args);
  };
  for (let i = 0; i < ROWS; i++) await commit(i, false, fields);
  const isRow = ['?-', 'whole'];
  return {
    set: (i) => commit(i, true, ['es', 'none', 'F', ...fields]),
    setField: (i) => commit(i, true, [...isRow, 's', 'f:available', 'false']),
    incrementField: (i) => commit(i, true, [...isRow, 'i', 'f:n', '1']),
  };
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
