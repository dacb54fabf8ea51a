import { Cluster, Redis } from 'iovalkey';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ValkeyStorage } from '../../../src/storage/valkey/valkey-storage.js';
import { failure, freshPrefix, keyOf, printed, Storages, startValkey, type ValkeyServer } from './support.js';

let server: ValkeyServer;
let admin: Redis;
const storages = new Storages();
beforeAll(async () => {
  server = await startValkey(['--requirepass', 'top:secret/1']);
  admin = new Redis({ port: server.port, password: 'top:secret/1' });
});
afterAll(async () => {
  await storages.close();
  admin.disconnect();
  await server.stop();
});

const key = keyOf('c1');
const touch = [{ op: 'touch' }] as const;
const root = (rest = '') => `valkey://:${encodeURIComponent('top:secret/1')}@127.0.0.1:${server.port}${rest}`;

describe('who we are', () => {
  it('a password opens the server', async () => {
    expect(await storages.make({ url: root() }).commit(key, touch)).toMatchObject({ version: 1 });
  });

  it.each([
    ['a wrong password', () => `valkey://:hunter2@127.0.0.1:${server.port}`, /does not let this user in: WRONGPASS/],
    ['a wrong user', () => `valkey://eve:hunter2@127.0.0.1:${server.port}`, /does not let this user in: WRONGPASS/],
    ['no password', () => `valkey://127.0.0.1:${server.port}`, /wants to know who asks/],
  ])('%s is a failure that says so, at once, and shows no secret', async (_, url, sentence) => {
    const storage = storages.make({ url: url() });
    for (let i = 0; i < 2; i++) {
      const { error, code, ms } = await failure(storage.commit(key, touch));
      expect(code).toBe('STORAGE_FAILED');
      expect(error.message).toMatch(sentence);
      expect(ms).toBeLessThan(500);
      expect(printed(error)).not.toContain('hunter2');
    }
  });

  it('a database that the server does not have is a failure that says so, at once', async () => {
    const { error, code, ms } = await failure(storages.make({ url: root('/99') }).commit(key, touch));
    expect(code).toBe('STORAGE_FAILED');
    expect(error.message).toMatch(/\/99 has no database of this number/);
    expect(error.details.fix).toContain('`databases`');
    expect(ms).toBeLessThan(500);
  });

  it('a password that is not needed is a warning', async () => {
    const open = await startValkey();
    const warnings: unknown[] = [];
    const logger = { debug() {}, info() {}, error() {}, warn: (...args: unknown[]) => warnings.push(...args) };
    const storage = storages.make({ url: `valkey://:hunter2@127.0.0.1:${open.port}`, logger });
    expect(await storage.commit(key, touch)).toMatchObject({ version: 1 });
    expect(warnings).toEqual([expect.stringContaining('needs no password')]);
    expect(warnings.join()).not.toContain('hunter2');
    await storage.close();
    await open.stop();
  });

  it('values do not show up in errors either', async () => {
    await admin.acl('SETUSER', 'reader', 'on', '>pw', '~*', '+@read', '+evalsha', '+eval', '+time');
    const storage = storages.make({ url: `valkey://reader:pw@127.0.0.1:${server.port}` });
    const { error } = await failure(storage.commit(key, [{ op: 'set', field: 'v', value: '"my diary"' }]));
    expect(printed(error)).not.toContain('diary');
  });
});

describe('what we may do', () => {
  it.each(['rpush', 'pexpireat', 'hset', 'set', 'ltrim', 'del'])(
    'a user who may not run %s leaves nothing half done',
    async (command) => {
      await admin.acl('SETUSER', `no-${command}`, 'reset', 'on', '>pw', '~*', '+@all', `-${command}`);
      const keyPrefix = freshPrefix();
      const owner = storages.make({ url: root(), keyPrefix });
      await owner.commit(key, [{ op: 'log', entry: '1' }]);
      await owner.begin(key, { token: 't', leaseMs: 60_000 });
      const before = await owner.read(key, { log: 9 });
      const storage = storages.make({ url: `valkey://no-${command}:pw@127.0.0.1:${server.port}`, keyPrefix });
      const changes = [
        { op: 'set', field: 'v', value: '1' },
        { op: 'log', entry: '2' },
      ] as const;
      const { error, code } = await failure(
        storage.commit(key, changes, { lease: { token: 't' }, expiry: { set: 60 }, logMax: 1, commitId: 'x' }),
      );
      expect(code).toBe('STORAGE_FAILED');
      expect(error.message.toLowerCase()).toContain(command);
      expect(await owner.read(key, { log: 9 })).toEqual(before);
      expect(await owner.commit(key, [], { lease: { token: 't' } })).toMatchObject({ committed: true });
    },
  );

  it('nor does one who may not unlink, where replies are replaced', async () => {
    await admin.acl('SETUSER', 'no-unlink', 'reset', 'on', '>pw', '~*', '+@all', '-unlink');
    const keyPrefix = freshPrefix();
    const owner = storages.make({ url: root(), keyPrefix });
    await owner.commit(key, [], { idempotency: { key: 'm', reply: '1', keep: 9 } });
    const before = await owner.read(key, { replies: true });
    const storage = storages.make({ url: `valkey://no-unlink:pw@127.0.0.1:${server.port}`, keyPrefix });
    const times = { createdAt: 1, updatedAt: 1, expiresAt: undefined, ownTtl: undefined };
    const carried = { ...times, replies: new Map([['n', '2']]) };
    const { code } = await failure(storage.commit(key, [{ op: 'set', field: 'v', value: '1' }], { carried }));
    expect(code).toBe('STORAGE_FAILED');
    expect(await owner.read(key, { replies: true })).toEqual(before);
  });

  it('a user of other keys is refused', async () => {
    await admin.acl('SETUSER', 'elsewhere', 'reset', 'on', '>pw', '~other:*', '+@all');
    const storage = storages.make({ url: `valkey://elsewhere:pw@127.0.0.1:${server.port}` });
    expect((await failure(storage.begin(key, { token: 't', leaseMs: 1_000 }))).code).toBe('STORAGE_FAILED');
    expect((await failure(storage.commit(key, touch))).code).toBe('STORAGE_FAILED');
  });
});

describe('databases', () => {
  it('are kept apart by the path of the url', async () => {
    const keyPrefix = freshPrefix();
    await storages.make({ url: root('/3'), keyPrefix }).commit(key, touch);
    expect(await storages.make({ url: root(), keyPrefix }).read(key)).toBeUndefined();
    expect(await storages.make({ url: root('/3'), keyPrefix }).read(key)).toMatchObject({ version: 1 });
  });

  it('that do not exist are a failure, never another database', async () => {
    const keyPrefix = freshPrefix();
    expect((await failure(storages.make({ url: root('/99'), keyPrefix }).commit(key, touch))).code).toBe(
      'STORAGE_FAILED',
    );
    expect(await storages.make({ url: root(), keyPrefix }).read(key)).toBeUndefined();
  });
});

describe('keys under our names that are not ours', () => {
  const record = (prefix: string) => `${prefix}{contexts/:c1}`;
  const attempts = (storage: ValkeyStorage) => [
    () => storage.begin(key, { token: 't', leaseMs: 1_000, log: 3 }),
    () => storage.commit(key, [{ op: 'log', entry: '1' }]),
    () => storage.commit(key, [{ op: 'set', field: 'v', value: '1' }], { expiry: { set: 60 } }),
    () => storage.read(key, { log: 3 }),
  ];

  it.each([
    ['a string', (name: string) => admin.set(name, 'precious')],
    ['a list', (name: string) => admin.rpush(name, 'precious')],
    ['a hash of somebody else', (name: string) => admin.hset(name, 'precious', '1')],
    ['a hash with another system field', (name: string) => admin.hset(name, '', 'precious')],
  ])('%s in place of the record is reported and stays', async (_, put) => {
    const prefix = freshPrefix();
    await put(record(prefix));
    const before = await admin.dump(record(prefix));
    for (const attempt of attempts(storages.make({ url: root(), keyPrefix: prefix }))) {
      expect((await failure(attempt())).code).toBe('RECORD_CORRUPT');
    }
    expect(await admin.dump(record(prefix))).toEqual(before);
    expect(await admin.exists(`${record(prefix)}:lease`)).toBe(0);
  });

  it('a string in place of the log, or of the lease, is reported and stays', async () => {
    for (const part of [':log', ':lease']) {
      const prefix = freshPrefix();
      const storage = storages.make({ url: root(), keyPrefix: prefix });
      await storage.commit(key, touch);
      if (part === ':log') await admin.set(record(prefix) + part, 'precious');
      else await admin.rpush(record(prefix) + part, 'precious');
      expect((await failure(storage.begin(key, { token: 't', leaseMs: 1_000, log: 3 }))).code).toBe('RECORD_CORRUPT');
      const lease = part === ':lease' ? { lease: { token: 't' } } : {};
      const commit = storage.commit(key, [{ op: 'log', entry: '1' }], lease);
      expect((await failure(commit)).code).toBe('RECORD_CORRUPT');
      expect(await admin.exists(record(prefix) + part)).toBe(1);
    }
  });

  it('a log that has disappeared is reported, not taken for empty', async () => {
    const prefix = freshPrefix();
    const storage = storages.make({ url: root(), keyPrefix: prefix });
    await storage.commit(key, [{ op: 'log', entry: '1' }]);
    await admin.del(`${record(prefix)}:log`);
    for (const attempt of attempts(storage)) expect((await failure(attempt())).code).toBe('RECORD_CORRUPT');
    expect((await failure(storage.readLog(key))).code).toBe('RECORD_CORRUPT');
    expect(await storage.delete(key)).toBe(true);
    expect(await storage.commit(key, touch)).toMatchObject({ version: 1 });
  });

  it('a log that outlived its record does not become the history of the next one', async () => {
    const prefix = freshPrefix();
    const storage = storages.make({ url: root(), keyPrefix: prefix });
    await admin.rpush(`${record(prefix)}:log`, '"old"');
    await storage.commit(key, [{ op: 'log', entry: '"new"' }]);
    expect(await storage.read(key, { log: 9 })).toMatchObject({ log: ['"new"'], logTotal: 1 });
  });
});

describe('options', () => {
  it.each([
    [{}],
    [{ url: 'valkey://h', client: new Redis({ lazyConnect: true }) }],
    [{ client: new Redis({ lazyConnect: true, stringNumbers: true }) }],
    [{ client: new Cluster([], { lazyConnect: true, redisOptions: { stringNumbers: true } }) }],
    [{ url: 'http://user:hunter2@h' }],
    [{ url: 'not a url hunter2' }],
    [{ url: 'valkey://h/one' }],
    [{ url: 'valkey://h?password=hunter2' }],
    [{ url: 'valkey://a:%zz@hunter2' }],
    [{ url: 'valkey://a:12/hunter2@h' }],
    [{ url: 'valkey://h', keyPrefix: '' }],
    [{ url: 'valkey://h', keyPrefix: 'a{}b' }],
    [{ url: 'valkey://h', timeoutMs: 0 }],
  ])('are refused without repeating a secret: %#', (options) => {
    const make = () => new ValkeyStorage({ keyPrefix: 'p:', ...options });
    expect(make).toThrowError(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    expect(make).toThrowError(expect.not.objectContaining({ message: expect.stringContaining('hunter2') }));
  });

  it.each([false, true])('say that a password is to be percent-encoded (cluster: %s)', (cluster) => {
    expect(() => new ValkeyStorage({ url: 'valkey://a:12/hunter2@h', keyPrefix: 'p:', cluster })).toThrowError(
      expect.objectContaining({
        message: 'the url of the Valkey server has a user or password that is not percent-encoded',
        details: expect.objectContaining({ fix: expect.stringContaining('%2F for /') }),
      }),
    );
  });

  it('a ttl that is none is refused', () => {
    expect(() => new ValkeyStorage({ url: 'valkey://h', keyPrefix: 'p:', ttl: 0 })).toThrowError(
      expect.objectContaining({ code: 'TTL_INVALID' }),
    );
  });
});
