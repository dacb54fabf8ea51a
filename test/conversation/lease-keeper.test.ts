import { afterEach, expect, it, vi } from 'vitest';
import { LeaseKeeper } from '../../src/conversation/lease-keeper.js';

afterEach(() => void vi.useRealTimers());

function turn() {
  const renewed = { times: 0 };
  return { renewed, renew: async () => void renewed.times++ };
}

it('renews after a third of the life of a lease, again and again, until the turn has ended', async () => {
  vi.useFakeTimers();
  const keeper = new LeaseKeeper();
  const long = turn();
  const short = turn();
  keeper.add(long, 3_000);
  const kept = keeper.add(short, 300);
  await vi.advanceTimersByTimeAsync(99);
  expect(short.renewed.times).toBe(0);
  await vi.advanceTimersByTimeAsync(902);
  expect(short.renewed.times).toBe(10);
  expect(long.renewed.times).toBe(1);
  keeper.delete(kept);
  await vi.advanceTimersByTimeAsync(1_000);
  expect([short.renewed.times, long.renewed.times]).toEqual([10, 2]);
});

it('renews again after the timers of the process were in the hands of a test', async () => {
  const keeper = new LeaseKeeper();
  const before = turn();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const clock = vi.spyOn(performance, 'now').mockReturnValue(-10_000);
  const kept = keeper.add(before, 30);
  clock.mockRestore();
  vi.useRealTimers();
  keeper.delete(kept);
  const after = turn();
  const keptAfter = keeper.add(after, 30);
  await expect.poll(() => after.renewed.times).toBeGreaterThan(0);
  keeper.delete(keptAfter);
});
