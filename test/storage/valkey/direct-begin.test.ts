import { Redis } from 'iovalkey';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Begun } from '../../../src/storage/state-storage.js';
import { failure, freshPrefix, keyOf, Storages, startValkey, type ValkeyServer } from './support.js';

let server: ValkeyServer;
let admin: Redis;
const storages = new Storages();
beforeAll(async () => {
  server = await startValkey();
  admin = new Redis({ port: server.port });
});
afterAll(async () => {
  await storages.close();
  admin.disconnect();
  await server.stop();
});

const key = keyOf('c1');
const LONG = 60_000;
const url = (user = '') => `valkey://${user}127.0.0.1:${server.port}`;
const recordOf = (begun: Begun) => (begun.busy ? undefined : begun.record);

/** How often the server was asked for a script, and for a transaction, while something was done. */
async function asked(action: () => Promise<unknown>): Promise<{ scripts: number; transactions: number }> {
  await admin.config('RESETSTAT');
  await action();
  const stats = await admin.info('commandstats');
  const calls = (name: string): number => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
  return { scripts: calls('evalsha') + calls('eval'), transactions: calls('exec') };
}

describe('a lease that nobody has', () => {
  it('is taken without a script, with the snapshot', async () => {
    const storage = storages.make({ url: url() });
    await storage.commit(
      key,
      [
        { op: 'set', field: 'v', value: '1' },
        { op: 'log', entry: '"a\\n"' },
        { op: 'log', entry: '"b"' },
        { op: 'owner', owner: 'Ann' },
      ],
      { expiry: { set: 60 }, idempotency: { key: 'm', reply: '"said"', keep: 9 } },
    );
    const read = await storage.read(key, { log: 1, idempotencyKey: 'm' });
    const begins: Begun[] = [];
    const begin = async (token: string, log: number, idempotencyKey?: string) =>
      begins.push(await storage.begin(key, { token, leaseMs: LONG, log, ...(idempotencyKey && { idempotencyKey }) }));
    const release = (token: string) => storage.commit(key, [], { lease: { token } });
    expect(await asked(() => begin('t', 1, 'm'))).toEqual({ scripts: 0, transactions: 1 });
    await release('t');
    await begin('u', 0, 'm');
    await release('u');
    await begin('v', 0, 'n');
    expect(begins.map(recordOf)).toEqual([read, { ...read, log: [] }, { ...read, log: [], reply: undefined }]);
    expect(recordOf(await storage.begin(keyOf('none'), { token: 't', leaseMs: LONG, log: 3 }))).toBeUndefined();
  });

  it('is not had by two', async () => {
    const storage = storages.make({ url: url() });
    const begins = await Promise.all(
      Array.from({ length: 20 }, (_, i) => storage.begin(key, { token: `t${i}`, leaseMs: LONG })),
    );
    expect(begins.filter(({ busy }) => !busy)).toHaveLength(1);
  });

  it('ends when it should', async () => {
    const storage = storages.make({ url: url() });
    await storage.begin(key, { token: 't', leaseMs: 40 });
    await expect.poll(async () => (await storage.begin(key, { token: 'u', leaseMs: LONG })).busy).toBe(false);
    expect((await failure(storage.commit(key, [], { lease: { token: 't' } }))).code).toBe('LEASE_LOST');
  });

  it('comes with one state of the record, whoever writes meanwhile', async () => {
    const keyPrefix = freshPrefix();
    const [reader, writer] = [storages.make({ url: url(), keyPrefix }), storages.make({ url: url(), keyPrefix })];
    // Texts long enough that the server reads what is sent in one tick in many pieces.
    const keys = Array.from({ length: 60 }, (_, i) => keyOf(`${i}-${'x'.repeat(900)}`));
    const write = (n: number) =>
      Promise.all(
        keys.map((each) =>
          writer.commit(each, [
            { op: 'set', field: 'v', value: String(n) },
            { op: 'log', entry: String(n) },
          ]),
        ),
      );
    await write(0);
    let writing = true;
    const written = (async () => {
      for (let n = 1; writing; n++) await write(n);
    })();
    for (let round = 0; round < Number(process.env['AGENTUP_TEST_ROUNDS'] ?? 40); round++) {
      const lease = { token: `t${round}` };
      const begins = await Promise.all(keys.map((each) => reader.begin(each, { ...lease, leaseMs: LONG, log: 1 })));
      for (const record of begins.map(recordOf)) expect(record?.log[0]).toBe(record?.fields.get('v'));
      await Promise.all(keys.map((each) => reader.commit(each, [], { lease })));
    }
    writing = false;
    await written;
  });
});

it('what is sent in one tick arrives, however much', async () => {
  const storage = storages.make({ url: url() });
  const keys = Array.from({ length: 60 }, (_, i) => keyOf(`large${i}`));
  const value = (i: number) => JSON.stringify(`${i} ä €`.repeat(10_000));
  await Promise.all(keys.map((each, i) => storage.commit(each, [{ op: 'set', field: 'v', value: value(i) }])));
  const begins = await Promise.all(keys.map((each) => storage.begin(each, { token: 't', leaseMs: LONG })));
  expect(begins.every((begun, i) => recordOf(begun)?.fields.get('v') === value(i))).toBe(true);
});

describe('anything else is left to the script', () => {
  // A place is kept for 200 ms of the server's clock: a machine that is busy may take longer for what follows.
  it('a lease that is held, and then the place of who was refused', { retry: 3 }, async () => {
    const keyPrefix = freshPrefix();
    const [holder, waiter] = [storages.make({ url: url(), keyPrefix }), storages.make({ url: url(), keyPrefix })];
    await holder.begin(key, { token: 'holder', leaseMs: LONG });
    const begin = () => waiter.begin(key, { token: 'waiter', leaseMs: LONG });
    expect(await asked(begin)).toEqual({ scripts: 1, transactions: 1 });
    // From now on the transaction could not succeed.
    expect(await asked(begin)).toEqual({ scripts: 1, transactions: 0 });
    await holder.commit(key, [], { lease: { token: 'holder' } });
    expect((await holder.begin(key, { token: 'other', leaseMs: LONG })).busy).toBe(true);
    expect((await begin()).busy).toBe(false);
    expect((await begin()).busy).toBe(false);
    await waiter.commit(key, [], { lease: { token: 'waiter' } });
    expect(await asked(() => waiter.begin(key, { token: 'next', leaseMs: LONG }))).toMatchObject({ transactions: 1 });
  });

  it.each([
    ['the system field is not ours', (name: string) => admin.hset(name, '', 'precious')],
    ['the system field has words for numbers', (name: string) => admin.hset(name, '', '1 2 0 one 0 - 2 ')],
    ['the log is missing', (name: string) => admin.del(`${name}:log`)],
    ['the log is no list', (name: string) => admin.set(`${name}:log`, 'precious')],
    ['the replies are no hash', (name: string) => admin.set(`${name}:replies`, 'precious')],
  ])('a record that is damaged, and no lease stays on it: %s', async (_, damage) => {
    const keyPrefix = freshPrefix();
    const storage = storages.make({ url: url(), keyPrefix });
    await storage.commit(key, [{ op: 'log', entry: '1' }]);
    const record = `${keyPrefix}{contexts/:c1}`;
    await damage(record);
    const options = { token: 't', leaseMs: LONG, log: 1, idempotencyKey: 'm' };
    expect((await failure(storage.begin(key, options))).code).toBe('RECORD_CORRUPT');
    expect(await admin.exists(`${record}:lease`)).toBe(0);
  });

  it('a record that is damaged, and whoever asked meanwhile is told the same', async () => {
    const keyPrefix = freshPrefix();
    const [first, second] = [storages.make({ url: url(), keyPrefix }), storages.make({ url: url(), keyPrefix })];
    await Promise.all([first.ping(), second.ping()]);
    await admin.hset(`${keyPrefix}{contexts/:c1}`, '', 'precious');
    const refused = failure(first.begin(key, { token: 'first', leaseMs: LONG }));
    // Behind the transaction of the first, and before it gives back what that took.
    await second.begin(key, { token: 'second', leaseMs: LONG }).catch(() => {});
    expect((await refused).code).toBe('RECORD_CORRUPT');
    expect((await failure(second.begin(key, { token: 'second', leaseMs: LONG }))).code).toBe('RECORD_CORRUPT');
    expect(await admin.pttl(`${keyPrefix}{contexts/:c1}:lease`)).toBeLessThan(1_000);
  });

  it('whatever goes by a client of the user, who may be watching keys on it', async () => {
    const client = new Redis({ port: server.port });
    const storage = storages.make({ client });
    const watched = freshPrefix();
    await client.watch(watched);
    expect((await storage.begin(key, { token: 't', leaseMs: LONG })).busy).toBe(false);
    await admin.set(watched, 'theirs');
    expect(await client.multi().set(watched, 'mine').exec()).toBeNull();
    client.disconnect();
  });

  it('a user who may not have transactions, who is asked for none in the next minute', async () => {
    await admin.acl('SETUSER', 'plain', 'reset', 'on', '>pw', '~*', '+@all', '-exec');
    const storage = storages.make({ url: url('plain:pw@') });
    await storage.commit(key, [{ op: 'log', entry: '1' }]);
    expect(recordOf(await storage.begin(key, { token: 't', leaseMs: LONG, log: 1 }))).toMatchObject({ log: ['1'] });
    await storage.commit(key, [], { lease: { token: 't' } });
    const { scripts } = await asked(() => storage.begin(key, { token: 'u', leaseMs: LONG, log: 1 }));
    expect(scripts).toBe(1);
    expect(await admin.info('commandstats')).not.toContain('cmdstat_multi');
    await storage.commit(key, [], { lease: { token: 'u' } });
    // The server may have been loading its data, and be ready by now.
    const later = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 61_000);
    await storage.begin(key, { token: 'v', leaseMs: LONG });
    later.mockRestore();
    expect(await admin.info('commandstats')).toContain('cmdstat_multi');
  });

  it('a server that begins transactions and ends none', async () => {
    const odd = await startValkey(['--rename-command', 'EXEC', '']);
    const storage = storages.make({ url: `valkey://127.0.0.1:${odd.port}` });
    expect(await storage.begin(key, { token: 't', leaseMs: LONG })).toEqual({ busy: false, record: undefined });
    const lease = { token: 't' };
    expect(await storage.commit(key, [{ op: 'touch' }], { lease })).toMatchObject({ committed: true, version: 1 });
    await storage.close();
    await odd.stop();
  });

  it('a server without memory for it', async () => {
    const full = await startValkey(['--maxmemory', '1']);
    const storage = storages.make({ url: `valkey://127.0.0.1:${full.port}` });
    const { error, code } = await failure(storage.begin(key, { token: 't', leaseMs: LONG }));
    expect(code).toBe('STORAGE_UNAVAILABLE');
    expect(error.message).toContain('OOM');
    await storage.close();
    await full.stop();
  });
});
