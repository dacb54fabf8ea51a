import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { RunningCalls } from '../../src/server/running-calls.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it('a stop waits for calls, cancels those that are late, and does not wait for one that hangs all the same', async () => {
  const calls = new RunningCalls();
  const cancelled: string[] = [];
  const ended: string[] = [];
  const run = (name: string, listens: boolean): void =>
    void calls
      .run(async (cancellation) => {
        const over = new Promise<void>((resolve) => {
          cancellation.hear(() => {
            cancelled.push(name);
            if (listens) resolve();
          });
        });
        await over;
      })
      .then(() => ended.push(name));
  run('listens', true);
  run('hangs', false);
  const stopped = calls.stop(10_000);
  await vi.advanceTimersByTimeAsync(9_999);
  expect(cancelled).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect([cancelled, ended]).toEqual([['listens', 'hangs'], ['listens']]);
  const answered = vi.fn();
  stopped.then(answered, answered);
  await vi.advanceTimersByTimeAsync(4_999);
  expect(answered).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(await stopped).toBe(2);
  expect(vi.getTimerCount()).toBe(0);
});

it('a stop also waits for a call that begins while others end', async () => {
  const calls = new RunningCalls();
  const end: (() => void)[] = [];
  const run = (): void => void calls.run(() => new Promise<void>((resolve) => void end.push(resolve)));
  run();
  const answered = vi.fn();
  void calls.stop(10_000).then(answered);
  run();
  end[0]?.();
  await vi.advanceTimersByTimeAsync(9_999);
  expect(answered).not.toHaveBeenCalled();
  end[1]?.();
  await vi.advanceTimersByTimeAsync(0);
  expect(answered).toHaveBeenCalledWith(0);
});
