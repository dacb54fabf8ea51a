import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { within } from '../src/within.js';

const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
const late = (): string => 'late';

it('what ends in time is answered as it ends, and no timer is left', async () => {
  const before = timers();
  expect(await within(60_000, Promise.resolve('done'), late)).toBe('done');
  await expect(within(60_000, Promise.reject(new Error('broken')), late)).rejects.toThrow('broken');
  expect(timers()).toBe(before);
});

it('what does not is given up for what the caller makes of that', async () => {
  const never = new Promise<string>(() => {});
  expect(await within(1, never, late)).toBe('late');
  const failing = within(1, never, () => {
    throw new Error('too late');
  });
  await expect(failing).rejects.toThrow('too late');
});

it('what fails when nobody waits for it any more disturbs nobody', async () => {
  let fail = (_: Error): void => {};
  const work = new Promise<string>((_, reject) => {
    fail = reject;
  });
  expect(await within(1, work, late)).toBe('late');
  // A rejection that nobody heard would fail this run.
  fail(new Error('unheard'));
  await delay(1);
});

it('a wait without `ref` is none that a process is kept alive by', async () => {
  const before = timers();
  let end = (): void => {};
  const work = new Promise<void>((resolve) => {
    end = resolve;
  });
  const waits = [within(60_000, work, late, { ref: false }), within(60_000, work, late)];
  expect(timers()).toBe(before + 1);
  end();
  await Promise.all(waits);
});
