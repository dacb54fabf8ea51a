import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/logger.js';
import { EncryptedStorage } from '../../src/storage/encryption/index.js';
import { openStorage } from '../../src/storage/open-storage.js';
import type { StateStorage } from '../../src/storage/state-storage.js';
import { ConversationClient } from '../../src/sync/conversation-client.js';
import { ConversationSync } from '../../src/sync/conversation-sync.js';
import { Outbox } from '../../src/sync/outbox.js';
import type { SyncEvents } from '../../src/sync/sync-events.js';
import type { ConversationSyncOptions } from '../../src/sync/sync-types.js';
import { ConversationRemote } from '../support/conversation-remote.js';
import { valkeyUrl } from '../support/index.js';
import { TestClock } from '../support/test-clock.js';

const directory = mkdtempSync(join(tmpdir(), 'agentup-sync-'));
let places = 0;
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.each(['memory', 'file', 'valkey'] as const)('the outbox on %s', (backend) => {
  let remote: ConversationRemote;
  let storage: StateStorage;
  const clock = new TestClock();
  const open: ConversationSync[] = [];
  const syncOf = (options: Partial<ConversationSyncOptions> = {}): ConversationSync => {
    const sync = new ConversationSync({
      storage,
      client: { baseUrl: remote.url, apiKey: 'test-key', timeoutMs: 5_000, retries: 0 },
      subDomain: 'shop',
      background: false,
      clock,
      ...options,
    });
    open.push(sync);
    return sync;
  };
  const told = <K extends keyof SyncEvents>(sync: ConversationSync, event: K): SyncEvents[K][] => {
    const heard: SyncEvents[K][] = [];
    sync.on(event, (value) => heard.push(value));
    return heard;
  };

  beforeEach(async () => {
    remote = await new ConversationRemote().start();
    storage = await openStorage(
      backend === 'memory'
        ? { backend }
        : backend === 'file'
          ? { backend, storageDir: join(directory, `${++places}`) }
          : { backend, url: valkeyUrl(), keyPrefix: `sync-${process.pid}-${++places}:` },
      { clock: backend === 'memory' ? clock : undefined },
    );
  });
  afterEach(async () => {
    for (const sync of open.splice(0)) await sync.close();
    await storage.close();
    await remote[Symbol.asyncDispose]();
  });

  it('brings everything that belongs together in one request, in its order', async () => {
    const sync = syncOf();
    await sync.initialize({ userId: 'ana', botId: 'bot-1' });
    for (let i = 0; i < 5; i++) await sync.addMessage('ana', 'user', `m${i}`);
    await sync.syncState('ana', { cart: { items: [{ sku: 'a' }], total: 12 }, order_stage: 'cart' });
    await sync.syncState('ana', { cart: { items: [], total: 0 }, payment_method: 'yape', order_stage: 'payment' });
    expect(await sync.linkOrder('ana', 'o1')).toEqual({ status: 'queued' });
    expect(await sync.flush()).toEqual({ pending: 0 });
    expect(remote.seen.map(({ name }) => name)).toEqual(['create', 'sync']);
    const [session] = await remote.of('ana');
    expect(session).toMatchObject({
      subDomain: 'shop',
      botId: 'bot-1',
      currentIntent: 'payment',
      currentOrderId: 'o1',
      orderHistory: ['o1'],
      context: { selectedItems: [], orderTotal: 0, paymentMethod: 'yape' },
    });
    expect(await remote.said('ana')).toEqual(['m0', 'm1', 'm2', 'm3', 'm4']);
    await sync.addMessage('ana', 'bot', 'later');
    await sync.flush();
    expect(remote.seen.map(({ name }) => name)).toEqual(['create', 'sync', 'sync']);
    expect(await sync.status()).toMatchObject({ pending: 0, conversations: 0, dropped: 0, dead: 0, sent: 10 });
  });

  it('has its effect once where answers are lost, and keeps the order with what comes meanwhile', async () => {
    const sync = syncOf();
    let requests = 0;
    remote.mood = () => (++requests % 2 === 1 ? 'drop' : 'up');
    for (let i = 0; i < 6; i++) {
      await sync.addMessage('ana', 'user', `m${i}`);
      await sync.flush();
    }
    for (let i = 0; i < 5; i++) await sync.flush();
    expect(await remote.said('ana')).toEqual(['m0', 'm1', 'm2', 'm3', 'm4', 'm5']);
    expect(await remote.of('ana')).toHaveLength(1);
    expect((await sync.status()).pending).toBe(0);
  });

  it('is sent by one of several senders', async () => {
    const syncs = [syncOf(), syncOf(), syncOf()];
    remote.mood = () => ({ slowMs: 20 });
    for (let i = 0; i < 30; i++) await syncs[i % 3]?.addMessage(`user${i % 4}`, 'user', `m${i}`);
    await Promise.all(syncs.map((sync) => sync.flush()));
    await syncs[0]?.flush();
    for (let user = 0; user < 4; user++) {
      const all = Array.from({ length: 30 }, (_, i) => i).filter((i) => i % 4 === user);
      expect(await remote.said(`user${user}`)).toEqual(all.map((i) => `m${i}`));
    }
  });

  it('leaves to another what that one is sending, and asks the remote nothing about it', async () => {
    const [first, second] = [syncOf(), syncOf()];
    await first.addMessage('ana', 'user', 'a');
    remote.mood = () => ({ slowMs: 300 });
    const sending = first.flush();
    await expect.poll(() => remote.seen.length, { interval: 5 }).toBe(1);
    remote.mood = () => 'up';
    expect(await second.flush()).toEqual({ pending: 1 });
    expect(remote.seen.map(({ name }) => name)).toEqual(['create']);
    expect(await sending).toEqual({ pending: 0 });
    expect(remote.seen.map(({ name }) => name)).toEqual(['create', 'sync']);
    expect((await second.status()).lastError).toBeUndefined();
  });

  it('ends a conversation and begins another with what comes after', async () => {
    const sync = syncOf();
    await sync.addMessage('ana', 'user', 'a');
    await sync.end('ana');
    await sync.addMessage('ana', 'user', 'b');
    await sync.flush();
    expect(
      (await remote.of('ana')).map(({ isActive, context }) => [isActive, context.previousMessages.length]),
    ).toEqual([
      [false, 1],
      [true, 1],
    ]);
  });

  it('begins anew where the conversation is gone, or was ended by somebody else', async () => {
    const sync = syncOf();
    await sync.addMessage('ana', 'user', 'a');
    await sync.flush();
    const [first] = await remote.of('ana');
    if (first) await remote.forget(first);
    await sync.addMessage('ana', 'user', 'b');
    await sync.flush();
    const [session] = await remote.of('ana');
    const client = new ConversationClient({ baseUrl: remote.url, apiKey: 'test-key', subDomain: 'shop' });
    await client.end(session?.sessionId ?? '');
    await sync.addMessage('ana', 'user', 'c');
    await sync.flush();
    expect(
      (await remote.of('ana')).map(({ context }) => context.previousMessages.map(({ content }) => content)),
    ).toEqual([['b'], ['c']]);
  });

  it('begins anew as often as it finds its conversation ended, in one delivery that takes several attempts', async () => {
    const sync = syncOf();
    const client = new ConversationClient({ baseUrl: remote.url, apiKey: 'test-key', subDomain: 'shop' });
    await sync.addMessage('ana', 'user', 'a');
    for (let n = 1; n <= 3; n++) {
      let asked = 0;
      // The conversation it knows has ended; to the next one it comes with the answer still out.
      remote.mood = (name) => (name === 'sync' && ++asked === (n === 1 ? 1 : 2) ? { status: 503 } : 'up');
      await sync.flush();
      remote.mood = () => 'up';
      const begun = await remote.of('ana');
      expect(begun).toHaveLength(n);
      await client.end(begun.at(-1)?.sessionId ?? '');
    }
    await sync.flush();
    expect(await remote.said('ana')).toEqual(['a']);
  });

  it('takes what the remote knows in another form for said, and sends it no more', async () => {
    const sync = syncOf();
    await sync.addMessage('ana', 'user', 'hi');
    remote.refuse = (name) => (name === 'sync' ? 'IDEMPOTENCY_MISMATCH' : undefined);
    expect(await sync.flush()).toEqual({ pending: 0 });
    expect(await sync.status()).toMatchObject({ pending: 0, dead: 0, sent: 1 });
  });

  it('begins a conversation anew once, not again and again, where the remote knows none that it has begun', async () => {
    const sync = syncOf();
    await sync.addMessage('ana', 'user', 'hi');
    remote.mood = (name) => (name === 'sync' && remote.seen.length < 20 ? { status: 404 } : 'up');
    expect(await sync.flush()).toEqual({ pending: 1 });
    expect(remote.seen.map(({ name }) => name)).toEqual(['create', 'sync', 'create', 'sync']);
  });

  it('sets aside what will never pass, and nothing else', async () => {
    const sync = syncOf();
    const dead = told(sync, 'dead');
    remote.refuse = (_, body) => (JSON.stringify(body).includes('poison') ? 'INVALID' : undefined);
    for (let i = 0; i < 20; i++) await sync.addMessage('ana', 'user', i === 13 ? 'poison' : `m${i}`);
    await sync.flush();
    const good = Array.from({ length: 20 }, (_, i) => `m${i}`).filter((text) => text !== 'm13');
    expect(await remote.said('ana')).toEqual(good);
    const letters = [];
    for await (const letter of sync.deadLetters()) letters.push(letter);
    expect(letters).toMatchObject([
      { target: { userId: 'ana' }, work: { message: { content: 'poison' } }, error: { code: 'INVALID' } },
    ]);
    expect(dead).toMatchObject([{ id: letters[0]?.id }]);
    expect(await sync.status()).toMatchObject({ pending: 0, dead: 1, sent: 19 });

    remote.refuse = () => undefined;
    expect(await sync.retry(letters[0]?.id ?? '')).toBe(true);
    await sync.flush();
    expect(await remote.said('ana')).toEqual([...good, 'poison']);
    expect((await sync.status()).dead).toBe(0);
    expect(await sync.retry('nothing')).toBe(false);

    remote.refuse = () => 'INVALID';
    await sync.addMessage('ana', 'user', 'worse');
    await sync.flush();
    for await (const { id } of sync.deadLetters()) expect(await sync.discard(id)).toBe(true);
    expect(await sync.status()).toMatchObject({ pending: 0, dead: 0 });
  });

  it('says how it is while the remote is down, and leaves it alone for a while', async () => {
    const sync = syncOf({ random: () => 1, backoff: { baseMs: 1_000, maxMs: 8_000 } });
    await remote.stop();
    const noted = clock.now();
    for (const user of ['ana', 'bob', 'eve']) await sync.addMessage(user, 'user', 'x');
    clock.advance(5_000);
    const failed = told(sync, 'failed');
    expect(await sync.flush()).toEqual({ pending: 3 });
    // One conversation asks at a time once it is known to be down; at first as many as are sent at once.
    expect(failed[0]).toMatchObject({ lost: false, error: { code: 'SYNC_UNAVAILABLE' } });
    expect(await sync.status()).toMatchObject({
      pending: 3,
      conversations: 3,
      oldest: new Date(noted).toISOString(),
      lastError: { code: 'SYNC_UNAVAILABLE', at: new Date(clock.now()).toISOString() },
    });
    expect(Date.parse((await sync.status()).pausedUntil ?? '')).toBeGreaterThan(clock.now());
    await remote.start();
    await sync.flush();
    expect(await sync.status()).toMatchObject({ pending: 0, lastSuccess: new Date(clock.now()).toISOString() });
    expect((await sync.status()).pausedUntil).toBeUndefined();
  });

  it('goes on with the others where the remote fails on one, and asks again for that when its time has come', async () => {
    const sync = syncOf({ background: true, everyMs: 20, random: () => 1, backoff: { baseMs: 1_000, maxMs: 60_000 } });
    let broken = true;
    const isAna = () => JSON.stringify(remote.seen.at(-1)?.body).includes('"ana"');
    remote.mood = () => (broken && isAna() ? { status: 500 } : 'up');
    for (let i = 0; i < 3; i++) for (const user of ['ana', 'bob']) await sync.addMessage(user, 'user', `${user}${i}`);
    await expect.poll(() => remote.said('bob'), { timeout: 5_000 }).toEqual(['bob0', 'bob1', 'bob2']);
    expect(await sync.status()).toMatchObject({
      pending: 3,
      conversations: 1,
      lastError: { code: 'SYNC_UNAVAILABLE' },
    });
    expect((await sync.status()).pausedUntil).toBeUndefined();
    const asked = remote.seen.length;
    broken = false;
    await new Promise((done) => setTimeout(done, 100));
    expect(remote.seen.length).toBe(asked);
    clock.advance(1_001);
    await expect.poll(() => remote.said('ana'), { timeout: 5_000 }).toEqual(['ana0', 'ana1', 'ana2']);
  });

  it('sends the others where one cannot be read, as its key is gone, and says so', async () => {
    const [lost, present] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')] as const;
    const before = new EncryptedStorage(storage, { key: lost });
    const old = syncOf({ storage: before });
    await old.addMessage('bob', 'user', 'said');
    await old.flush();
    await old.addMessage('bob', 'user', 'old');
    // Of this queue nothing but the entries is encrypted.
    await old.addMessage('dan', 'user', 'old');
    // Of a turn whose process died.
    const note = { space: 'sync-turns', scope: [], id: 'a' };
    await before.commit(note, [{ op: 'set', field: 'key', value: '"x"' }], { expiry: { set: 'none' } });
    const logged: unknown[] = [];
    const logger = { ...silentLogger, error: (error: unknown) => void logged.push(error) };
    const sync = syncOf({ storage: new EncryptedStorage(storage, { key: present }), logger });
    for (const user of ['ana', 'eve']) await sync.addMessage(user, 'user', 'new');
    expect(await sync.flush()).toEqual({ pending: 1 });
    expect([await remote.said('ana'), await remote.said('eve')]).toEqual([['new'], ['new']]);
    const gone = expect.objectContaining({ code: 'KEY_MISSING' });
    expect(logged).toEqual([gone, gone, gone]);
    expect(await sync.status()).toMatchObject({ pending: 1, sent: 2, lastError: { code: 'KEY_MISSING' } });
    const found = syncOf({ storage: new EncryptedStorage(storage, { key: present, previous: [lost] }) });
    for (const key of [note, { space: 'sync-outbox', scope: ['shop'], id: 'dan' }]) await storage.delete(key);
    expect(await found.flush()).toEqual({ pending: 0 });
    expect(await remote.said('bob')).toEqual(['said', 'old']);
  });

  it('waits where its key is refused, and gives nothing up', async () => {
    const wrong = syncOf({ client: { baseUrl: remote.url, apiKey: 'wrong' } });
    await wrong.addMessage('ana', 'user', 'a');
    expect(await wrong.flush()).toEqual({ pending: 1 });
    expect(await wrong.status()).toMatchObject({ dead: 0, lastError: { code: 'UNAUTHENTICATED' } });
    await syncOf().flush();
    expect(await remote.said('ana')).toEqual(['a']);
  });

  it('gives up the oldest beyond its bound, and counts them', async () => {
    const sync = syncOf({ outbox: { max: 4 } });
    const dropped = told(sync, 'dropped');
    for (let i = 0; i < 10; i++) expect(await sync.addMessage('ana', 'user', `m${i}`)).toEqual({ status: 'queued' });
    expect(await sync.status()).toMatchObject({ pending: 4, dropped: 6 });
    await sync.flush();
    expect(await remote.said('ana')).toEqual(['m6', 'm7', 'm8', 'm9']);
    expect(dropped).toMatchObject([{ count: 6, target: { userId: 'ana' } }]);
    expect(await sync.status()).toMatchObject({ pending: 0, dropped: 6 });
  });

  it('keeps to itself what is on its way when the bound is met', async () => {
    const sync = syncOf({ outbox: { max: 3 } });
    for (let i = 0; i < 3; i++) await sync.addMessage('ana', 'user', `m${i}`);
    remote.mood = () => 'drop';
    await sync.flush();
    for (let i = 3; i < 8; i++) await sync.addMessage('ana', 'user', `m${i}`);
    remote.mood = () => 'up';
    await sync.flush();
    expect(await remote.said('ana')).toEqual(['m0', 'm1', 'm2', 'm5', 'm6', 'm7']);
  });

  it('is looked through from where the bound has come to, also past all that was looked for', async () => {
    const outbox = new Outbox(storage, { max: 3 });
    const target = { subDomain: 'shop', userId: 'ana' };
    for (let i = 0; i < 10; i++) await outbox.add({ id: `e${i}`, at: i, target, work: { op: 'open' } });
    const found = await outbox.waiting(outbox.keyOf(target), 0, 2);
    expect(found).toMatchObject({ next: 9, dropped: 7, total: 10, entries: [{ id: 'e7' }, { id: 'e8' }] });
  });

  it('ends ten minutes after the last of it was sent, and never while something waits', async () => {
    const sync = syncOf();
    const life = async () => {
      const record = await storage.read({ space: 'sync-outbox', scope: ['shop'], id: 'ana' });
      return record?.expiresAt && record.expiresAt - record.updatedAt;
    };
    for (let i = 0; i < 2; i++) {
      await sync.addMessage('ana', 'user', `m${i}`);
      expect(await life()).toBeUndefined();
      await sync.flush();
      expect(await life()).toBe(600_000);
    }
  });

  it('is written so that a storage may send it again when an answer is lost', async () => {
    const sync = syncOf();
    const commit = storage.commit.bind(storage);
    const ids: unknown[] = [];
    storage.commit = (key, changes, options) => {
      if (changes.length > 0) ids.push(options?.commitId);
      return commit(key, changes, options);
    };
    await sync.addMessage('ana', 'user', 'a');
    await sync.flush();
    expect(ids.length).toBeGreaterThan(2);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).not.toContain(undefined);
  });

  it('refuses the newest instead, where that is wanted', async () => {
    const sync = syncOf({ outbox: { max: 2, atLimit: 'reject' } });
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await sync.addMessage('ana', 'user', `m${i}`)).status);
    expect(statuses).toEqual(['queued', 'queued', 'rejected']);
    await sync.flush();
    expect(await sync.addMessage('ana', 'user', 'm3')).toEqual({ status: 'queued' });
    await sync.flush();
    expect(await remote.said('ana')).toEqual(['m0', 'm1', 'm3']);
  });

  it('sends in the background, as soon as something is noted', async () => {
    const sync = syncOf({ background: true, everyMs: 60_000 });
    const sent = told(sync, 'sent');
    const calls = Array.from({ length: 50 }, (_, i) => sync.addMessage('ana', 'user', `m${i}`));
    await Promise.all(calls);
    await expect.poll(async () => (await remote.said('ana')).length, { timeout: 5_000 }).toBe(50);
    expect(await remote.said('ana')).toEqual(Array.from({ length: 50 }, (_, i) => `m${i}`));
    await expect.poll(() => sent.reduce((sum, { count }) => sum + count, 0)).toBe(50);
  });

  it('sends at once what comes in as the last of what was there is done', async () => {
    const sync = syncOf({ background: true, everyMs: 60_000 });
    const commit = storage.commit.bind(storage);
    let late: Promise<unknown> | undefined;
    storage.commit = async (key, changes, options) => {
      const answer = await commit(key, changes, options);
      if (changes.some(({ op }) => op === 'clearLog')) await (late ??= sync.addMessage('ana', 'user', 'late'));
      return answer;
    };
    await sync.addMessage('ana', 'user', 'a');
    await expect.poll(() => remote.said('ana'), { timeout: 5_000 }).toEqual(['a', 'late']);
  });

  it('sends all the same where one that was under way has just failed', async () => {
    const client = { baseUrl: remote.url, apiKey: 'test-key', timeoutMs: 1_000, retries: 0 };
    const sync = syncOf({ background: true, everyMs: 60_000, client, random: () => 1 });
    remote.mood = () => ({ slowMs: 1_500 });
    await sync.addMessage('ana', 'user', 'a');
    await expect.poll(() => remote.seen.length).toBe(1);
    remote.mood = () => 'up';
    expect(await sync.flush()).toEqual({ pending: 0 });
    expect(await remote.said('ana')).toEqual(['a']);
  });

  it('leaves what it could not send to the next one', async () => {
    const first = syncOf({ background: true });
    remote.mood = () => ({ status: 503 });
    await first.addMessage('ana', 'user', 'a');
    await first.close();
    expect(await first.addMessage('ana', 'user', 'b')).toEqual({ status: 'queued' });
    remote.mood = () => 'up';
    const second = syncOf();
    await second.flush();
    expect(await remote.said('ana')).toEqual(['a', 'b']);
  });
});
