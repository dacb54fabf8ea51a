import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'iovalkey';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { selfSigned } from './self-signed.js';
import { failure, freshPrefix, keyOf, Storages, startValkey, type ValkeyServer } from './support.js';

const storages = new Storages();
const servers: ValkeyServer[] = [];
async function start(...args: string[]): Promise<ValkeyServer> {
  const server = await startValkey(args);
  servers.push(server);
  return server;
}
afterEach(async () => {
  await storages.close();
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

const key = keyOf('c1');
const touch = [{ op: 'touch' }] as const;

describe('a server that is not there', () => {
  it('at the start fails at once, and works when it comes', async () => {
    const { port, url, stop } = await start();
    await stop();
    const storage = storages.make({ url, timeoutMs: 1_000 });
    for (let i = 0; i < 2; i++) {
      const failed = await failure(storage.begin(key, { token: 't', leaseMs: 1_000 }));
      expect(failed.code).toBe('STORAGE_UNAVAILABLE');
      expect(failed.error.message).toContain('ECONNREFUSED');
      expect(failed.ms).toBeLessThan(500);
    }
    await start('--port', String(port));
    expect(await storage.commit(key, touch)).toMatchObject({ version: 1 });
  });

  it('in the middle of a turn fails within its time, and works when it is back', async () => {
    const { port, url, kill9 } = await start();
    const storage = storages.make({ url, timeoutMs: 600 });
    await storage.begin(key, { token: 't', leaseMs: 30_000 });
    await kill9();
    const failed = await failure(storage.commit(key, touch, { lease: { token: 't' }, commitId: 'x' }));
    expect(failed.code).toBe('STORAGE_UNAVAILABLE');
    expect(failed.ms).toBeLessThan(1_000);
    // It has been gone for longer than anybody is asked to wait: from here on it is told at once.
    expect((await failure(storage.read(key))).ms).toBeLessThan(500);
    await start('--port', String(port));
    expect(await storage.begin(key, { token: 'u', leaseMs: 1_000 })).toMatchObject({ busy: false });
  });

  it('for a moment is not noticed', async () => {
    const { port, url, stop } = await start();
    const storage = storages.make({ url });
    await storage.begin(key, { token: 't', leaseMs: 30_000 });
    await stop();
    const again = delay(200).then(() => start('--port', String(port)));
    // The lease went with the server, the change has none.
    expect(await storage.commit(key, touch, { commitId: 'x' })).toMatchObject({ version: 1 });
    await again;
  });

  it('because of a name that nobody knows', async () => {
    const failed = await failure(storages.make({ url: 'valkey://no-such-host.invalid', timeoutMs: 1_500 }).ping());
    expect(failed.code).toBe('STORAGE_UNAVAILABLE');
    expect(failed.ms).toBeLessThan(2_000);
  });
});

describe('a server that does not answer', () => {
  it('because it is stopped fails each call within its time, and works when it goes on', async () => {
    const { url, pid } = await start();
    const keyPrefix = freshPrefix();
    const storage = storages.make({ url, keyPrefix, timeoutMs: 300 });
    await storage.commit(key, touch);
    process.kill(pid, 'SIGSTOP');
    const fails = await Promise.all([
      failure(storage.begin(key, { token: 't', leaseMs: 60_000 })),
      failure(storage.read(key)),
      failure(storage.commit(key, touch, { commitId: 'x' })),
    ]);
    const later = await failure(storage.ping());
    for (const { code, ms } of [...fails, later]) {
      expect(code).toBe('STORAGE_UNAVAILABLE');
      expect(ms).toBeLessThan(600);
    }
    process.kill(pid, 'SIGCONT');
    await storage.read(key);
    // The server may have granted what it was asked in its sleep. Nobody waits for that, so nobody holds it.
    await expect
      .poll(async () => (await storage.begin(key, { token: 'u', leaseMs: 1_000 })).busy, { timeout: 3_000 })
      .toBe(false);
  });

  it('because something else listens there', async () => {
    const silent = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    for (const scheme of ['valkey', 'valkeys']) {
      const storage = storages.make({ url: `${scheme}://127.0.0.1:${port}`, timeoutMs: 200 });
      const failed = await failure(storage.ping());
      expect(failed.code).toBe('STORAGE_UNAVAILABLE');
      expect(failed.ms).toBeLessThan(500);
    }
    await storages.close();
    silent.close();
  });

  it('because a web server listens there, which the error says', async () => {
    const web = createHttpServer((_, response) => response.end()).listen(0, '127.0.0.1');
    await once(web, 'listening');
    const at = `127.0.0.1:${(web.address() as AddressInfo).port}`;
    for (const [scheme, sentence, fix] of [
      ['valkey', /: what answers there is no Valkey server$/, /^correct host and port/],
      ['valkeys', /: it does not speak TLS$/, /^write valkey:\/\/ instead of valkeys:/],
    ] as const) {
      const failed = await failure(storages.make({ url: `${scheme}://${at}` }).ping());
      expect(failed).toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
        error: { message: expect.stringMatching(sentence) },
      });
      expect(failed.error.details.fix).toMatch(fix);
      expect(failed.ms).toBeLessThan(2_000);
    }
    web.close();
  });

  it('because it speaks no TLS and waits for more, which is worth a try', async () => {
    const { url } = await start();
    const failed = await failure(storages.make({ url: url.replace('valkey:', 'valkeys:'), timeoutMs: 300 }).ping());
    // Whichever of the two is up first: the time of the call, or of its connection.
    expect(failed.error.message).toMatch(/no answer within 300 ms|connect ETIMEDOUT/);
    expect(failed.error.details.fix).toBe('where it does not speak TLS, write valkey:// instead of valkeys://');
  });

  it('because it hangs up on everybody', async () => {
    const rude = createServer((socket) => socket.on('error', () => {}).destroy()).listen(0, '127.0.0.1');
    await once(rude, 'listening');
    const storage = storages.make({
      url: `valkey://127.0.0.1:${(rude.address() as AddressInfo).port}`,
      timeoutMs: 300,
    });
    const failed = await failure(storage.begin(key, { token: 't', leaseMs: 1_000 }));
    expect(failed.code).toBe('STORAGE_UNAVAILABLE');
    expect(failed.ms).toBeLessThan(600);
    rude.close();
  });
});

describe('a server that answers while the process stands still', () => {
  const standStill = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

  it.each(['on a new connection', 'on an old one'])('is heard afterwards, %s', async (when) => {
    const { url } = await start();
    // From before the connection is tried to after the question is sent.
    for (let ticks = 0; ticks < 5; ticks++) {
      const storage = storages.make({ url, timeoutMs: 150 });
      if (when === 'on an old one') await storage.ping();
      const asked = storage.commit(key, touch);
      for (let tick = 0; tick < ticks; tick++) await new Promise(setImmediate);
      standStill(250);
      expect(await asked).toMatchObject({ committed: true });
    }
  });
});

describe('a server that cannot do it', () => {
  it('out of memory: nothing is written, leases come free, and it works again', async () => {
    const { url } = await start();
    const admin = new Redis(url);
    const storage = storages.make({ url });
    await storage.commit(key, [{ op: 'set', field: 'v', value: '1' }]);
    await storage.begin(key, { token: 't', leaseMs: 60_000 });
    await admin.config('SET', 'maxmemory', '1');
    const failed = await failure(
      storage.commit(key, [{ op: 'set', field: 'v', value: '2' }], { lease: { token: 't' }, commitId: 'x' }),
    );
    expect(failed.code).toBe('STORAGE_UNAVAILABLE');
    expect(failed.error.message).toContain('out of memory');
    expect((await storage.read(key))?.fields.get('v')).toBe('1');
    await storage.commit(key, [], { lease: { token: 't' } });
    expect((await failure(storage.begin(key, { token: 'u', leaseMs: 1_000 }))).code).toBe('STORAGE_UNAVAILABLE');
    await admin.config('SET', 'maxmemory', '0');
    admin.disconnect();
    expect(await storage.begin(key, { token: 'v', leaseMs: 1_000 })).toMatchObject({ busy: false });
  });

  it('a read-only replica reads and refuses to write', async () => {
    const primary = await start('--repl-diskless-sync-delay', '0');
    const keyPrefix = freshPrefix();
    await storages.make({ url: primary.url, keyPrefix }).commit(key, touch);
    const replica = await start('--replicaof', `127.0.0.1 ${primary.port}`);
    const storage = storages.make({ url: replica.url, keyPrefix });
    await expect
      .poll(() => storage.read(key).catch(() => undefined), { timeout: 10_000 })
      .toMatchObject({ version: 1 });
    const failed = await failure(storage.commit(key, touch));
    expect(failed.code).toBe('STORAGE_UNAVAILABLE');
    expect(failed.error.message).toContain('read-only replica');
    expect((await failure(storage.begin(key, { token: 't', leaseMs: 1_000 }))).code).toBe('STORAGE_UNAVAILABLE');
  });

  it('still loading its data: says so within its time, and works when it has', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'agentup-loading-'));
    try {
      const first = await start('--dir', directory);
      const admin = new Redis(first.url);
      const filling = admin.pipeline();
      for (let i = 0; i < 800; i++) filling.set(`filler:${i}`, 'x'.repeat(100));
      await filling.exec();
      await admin.save();
      admin.disconnect();
      await first.stop();
      const slow = ['--key-load-delay', '1000', '--loading-process-events-interval-bytes', '1024'];
      const loading = start('--dir', directory, '--port', String(first.port), ...slow);
      const storage = storages.make({ url: first.url, timeoutMs: 300 });
      await expect
        .poll(() => storage.ping().then(String, (error: Error) => error.message), { timeout: 5_000, interval: 10 })
        .toContain('still loading its data');
      const failed = await failure(storage.commit(key, touch));
      expect(failed.code).toBe('STORAGE_UNAVAILABLE');
      expect(failed.ms).toBeLessThan(600);
      await loading;
      expect(await storage.commit(key, touch)).toMatchObject({ version: 1 });
    } finally {
      await Promise.all(servers.splice(0).map((server) => server.stop()));
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('that lost its scripts is given them again', async () => {
    const { url } = await start();
    const admin = new Redis(url);
    const storage = storages.make({ url });
    for (let version = 1; version <= 3; version++) {
      await admin.script('FLUSH');
      await storage.begin(key, { token: `t${version}`, leaseMs: 1_000 });
      await admin.script('FLUSH');
      const answer = await storage.commit(key, touch, { lease: { token: `t${version}` }, commitId: `c${version}` });
      expect(answer).toMatchObject({ version });
    }
    admin.disconnect();
  });

  it('drops a connection, and is asked on a new one', async () => {
    const { url } = await start();
    const admin = new Redis(url);
    const storage = storages.make({ url });
    for (let version = 1; version <= 3; version++) {
      expect(await storage.commit(key, touch)).toMatchObject({ version });
      await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    }
    const calls = Array.from({ length: 50 }, (_, i) => storage.commit(keyOf(`d${i}`), touch, { commitId: `d${i}` }));
    await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    for (const answer of await Promise.all(calls)) expect(answer).toMatchObject({ version: 1 });
    admin.disconnect();
  });
});

describe('TLS', () => {
  const directory = mkdtempSync(join(tmpdir(), 'agentup-tls-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('is spoken with a valkeys url, to a server that proves who it is', async () => {
    const { key: privateKey, cert } = selfSigned();
    writeFileSync(join(directory, 'key.pem'), privateKey);
    writeFileSync(join(directory, 'cert.pem'), cert);
    const plain = await start();
    await plain.stop();
    const files = ['--tls-key-file', join(directory, 'key.pem'), '--tls-cert-file', join(directory, 'cert.pem')];
    const server = await start('--port', '0', '--tls-port', String(plain.port), '--tls-auth-clients', 'no', ...files);
    expect(server.pid).toBeGreaterThan(0);
    const url = `valkeys://127.0.0.1:${plain.port}`;
    expect(await storages.make({ url, tls: { ca: cert } }).commit(key, touch)).toMatchObject({ version: 1 });
    const doubted = await failure(storages.make({ url }).ping());
    expect(doubted.code).toBe('STORAGE_UNAVAILABLE');
    expect(doubted.error.message).toContain('certificate');
    expect(doubted.error.details.fix).toContain('NODE_EXTRA_CA_CERTS');
    const inClear = await failure(storages.make({ url: url.replace('valkeys:', 'valkey:') }).ping());
    expect(inClear.code).toBe('STORAGE_UNAVAILABLE');
  });
});
