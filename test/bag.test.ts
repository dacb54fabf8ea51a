import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { Bag, KeyedBag } from '../src/bag.js';
import { SingleFlight } from '../src/caches/single-flight.js';
import { MemoryStorage, withState } from '../src/index.js';

it('holds what was put into it until that is taken out, once', () => {
  const bag = new Bag<string>();
  const places = ['a', 'b', 'c', 'd'].map((value) => bag.add(value));
  const take = (at: number) => bag.delete(places[at] as (typeof places)[number]);
  take(1);
  take(1);
  expect(bag.values().toSorted()).toEqual(['a', 'c', 'd']);
  take(3);
  take(0);
  take(3);
  expect(bag.values()).toEqual(['c']);
  expect(bag.size).toBe(1);
  bag.add('e');
  take(2);
  expect(bag.values()).toEqual(['e']);
});

it('a value may be in it twice', () => {
  const bag = new Bag<string>();
  const first = bag.add('a');
  bag.add('a');
  bag.delete(first);
  expect(bag.values()).toEqual(['a']);
});

it('by key it holds what was set last, until that is deleted', () => {
  const bag = new KeyedBag<string>();
  bag.delete('a');
  bag.set('a', 'first');
  bag.set('a', 'second');
  bag.set('b', 'other');
  expect([bag.get('a'), bag.get('b'), bag.get('c'), bag.size]).toEqual(['second', 'other', undefined, 2]);
  bag.delete('a');
  expect([bag.get('a'), bag.size]).toEqual([undefined, 1]);
  bag.set('a', 'third');
  expect([bag.get('a'), bag.size]).toEqual(['third', 2]);
});

it('of turns that are over nothing is left for the garbage collector to keep', async () => {
  const storage = new MemoryStorage();
  // A turn that fails leaves nothing in the storage either.
  const fail = withState(
    async (_, context, id) => {
      await context.setVariable(id, 'v', `${Math.random()}`.padEnd(4_000, 'x'));
      await new Promise((resolve) => setImmediate(resolve));
      throw new Error('over');
    },
    { storage },
  );
  let turns = 0;
  const run = (count: number) =>
    Promise.all(
      Array.from({ length: 64 }, async () => {
        for (let i = 0; i < count; i++) await fail({ id: String(turns++ % 500), text: '' }).catch(() => {});
      }),
    );
  expect(await keptOf(run)).toBeLessThan(8_000_000);
});

it('of loads that are over nothing is left for the garbage collector to keep', async () => {
  const flights = new SingleFlight();
  let loads = 0;
  const load = async (): Promise<string> => {
    await new Promise((resolve) => setImmediate(resolve));
    return Buffer.alloc(4_000, `${loads}`).toString();
  };
  const run = (count: number) =>
    Promise.all(
      Array.from({ length: 64 }, async () => {
        for (let i = 0; i < count; i++) await flights.once({ space: 's', scope: [], id: String(loads++) }, load);
      }),
    );
  expect(await keptOf(run)).toBeLessThan(8_000_000);
});

/** By how many bytes the old generation grows while something runs in whose midst it was filled. */
async function keptOf(run: (count: number) => Promise<unknown>): Promise<number> {
  await run(20);
  setFlagsFromString('--expose-gc');
  // What lives now is promoted, so that whatever it refers to later is kept by the collections of the young.
  await Promise.all([run(20), new Promise((resolve) => setImmediate(resolve)).then(runInNewContext('gc'))]);
  const before = oldBytes();
  await run(150);
  return oldBytes() - before;
}

function oldBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')?.space_used_size ?? Number.NaN;
}
