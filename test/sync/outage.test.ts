import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import type { StorageOptions } from '../../src/storage/open-storage.js';
import { ConversationRemote, type Mood } from '../support/conversation-remote.js';
import { valkeyUrl } from '../support/index.js';
import { runWorker, startWorker } from '../support/workers.js';

const WORKER = join(import.meta.dirname, 'outage.worker.ts');
const directory = mkdtempSync(join(tmpdir(), 'agentup-outage-'));
let places = 0;
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const MESSAGES = 1_000;
const USERS = 7;
/** What a call of the app may wait: the default of `boundMs`. */
const BOUND_MS = 2_000;

/** Notes messages, and is killed `afterMs` later, whatever it does then. */
async function killed(args: object, afterMs: number): Promise<number[]> {
  const app = startWorker(WORKER, { ...args, drain: false });
  const { value } = await app.lines.next();
  await delay(afterMs);
  app.process.kill('SIGKILL');
  expect(await app.ended).toBe('SIGKILL');
  return JSON.parse(value as string) as number[];
}

async function expectEachOnce(remote: ConversationRemote): Promise<void> {
  for (let user = 0; user < USERS; user++) {
    const all = Array.from({ length: MESSAGES }, (_, i) => i).filter((i) => i % USERS === user);
    expect(await remote.said(`user${user}`), `user${user}`).toEqual(all.map((i) => `m${i}`));
    expect(await remote.of(`user${user}`)).toHaveLength(1);
  }
}

describe.each(['file', 'valkey'] as const)('on %s', (backend) => {
  const place = (): StorageOptions =>
    backend === 'file'
      ? { backend, storageDir: join(directory, `${++places}`) }
      : { backend, url: valkeyUrl(), keyPrefix: `outage-${process.pid}-${++places}:` };

  it('loses nothing while the remote is down for 1,000 messages and the app is killed three times', async () => {
    await using remote = await new ConversationRemote().start();
    const args = { options: place(), url: remote.url, users: USERS };
    await remote.stop();
    const waited: number[] = [];
    for (const [from, to] of [
      [0, 300],
      [300, 650],
      [650, MESSAGES],
    ])
      waited.push(...(await killed({ ...args, from, to }, 50)));
    expect(remote.seen).toEqual([]);
    await remote.start();
    await runWorker(WORKER, { ...args, from: 0, to: 0, drain: true });
    await expectEachOnce(remote);
    // In a few requests, not in a thousand.
    expect(remote.seen.length).toBeLessThan(100);
    expect(Math.max(...waited)).toBeLessThan(BOUND_MS);
  });

  it('has each in its place once where the remote is slow, fails, answers to nobody, and senders die', async () => {
    await using remote = await new ConversationRemote().start();
    const moods: Mood[] = [
      'drop',
      'up',
      { slowMs: 30 },
      { status: 503 },
      'drop',
      { slowMs: 700 },
      { status: 500 },
      'up',
    ];
    let requests = 0;
    remote.mood = () => moods[requests++ % moods.length] as Mood;
    const args = { options: place(), url: remote.url, users: USERS };
    const waited: number[] = [];
    for (const [from, to] of [
      [0, 250],
      [250, 500],
      [500, 750],
    ])
      waited.push(...(await killed({ ...args, from, to }, 400)));
    // Two apps over one storage at the end.
    const beside = startWorker(WORKER, { ...args, from: 0, to: 0, drain: false });
    const [line = '[]'] = await runWorker(WORKER, { ...args, from: 750, to: MESSAGES, drain: true });
    beside.process.kill('SIGKILL');
    await beside.ended;
    waited.push(...(JSON.parse(line) as number[]));
    await expectEachOnce(remote);
    expect(Math.max(...waited)).toBeLessThan(BOUND_MS);
  });
});
