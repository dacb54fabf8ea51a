import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileStorage } from '../../../src/storage/file/file-storage.js';
import { compiledWorker } from '../../support/compiled-workers.js';

const key = (id: string, ...scope: string[]) => ({ space: 'contexts', scope, id });
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'agentup-files-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('names', () => {
  const nasty = [
    '..',
    '../../etc/passwd',
    '/abs',
    'a:b',
    'a*?[x]',
    'NUL',
    'con',
    'a',
    'A',
    'é',
    'e\u0301',
    'a\0b',
    '🙂',
    ' ',
    '.',
    'x'.repeat(1024),
    '🙂'.repeat(300),
    '.by-owner',
    'a.jsonl',
    'a.jsonl.lock',
  ];

  it('of every kind are kept apart, inside the directory, and listed as they are', async () => {
    const storage = new FileStorage({ storageDir: join(directory, 'inner') });
    for (const id of nasty) {
      await storage.commit(key(id), [
        { op: 'set', field: 'id', value: JSON.stringify(id) },
        { op: 'owner', owner: id },
      ]);
      await storage.commit(key('x', id), [{ op: 'set', field: 'id', value: '"scoped"' }]);
    }
    const again = new FileStorage({ storageDir: join(directory, 'inner') });
    const listed: string[] = [];
    for await (const { key: found } of again.list({ space: 'contexts', scope: [] })) listed.push(found.id);
    expect(listed.sort()).toEqual([...nasty].sort());
    for (const id of nasty) {
      expect((await again.read(key(id)))?.fields.get('id')).toBe(JSON.stringify(id));
      const owned: string[] = [];
      for await (const { key: found } of again.list({ space: 'contexts', owner: id })) owned.push(found.id);
      expect(owned).toEqual([id]);
    }
    expect(await readdir(directory)).toEqual(['inner']);
    for (const name of await readdir(join(directory, 'inner'), { recursive: true })) {
      expect(Buffer.byteLength(name.split('/').at(-1) ?? '')).toBeLessThan(255);
    }
    await storage.close();
    await again.close();
  });
});

describe('files that are called as none of ours is', () => {
  it('are neither listed, as nobody could read them, nor cleaned up', async () => {
    const storage = new FileStorage({ storageDir: directory });
    await storage.commit(key('ada'), [{ op: 'touch' }]);
    const contexts = join(directory, 'contexts');
    const others = ['Ada.jsonl', '%zz.jsonl', '%41da.txt', 'ada (copy).jsonl', '.ada.jsonl'];
    for (const name of others) await copyFile(join(contexts, 'ada.jsonl'), join(contexts, name));
    const listed: string[] = [];
    for await (const info of storage.list({ space: 'contexts' })) listed.push(info.key.id);
    expect(listed).toEqual(['ada']);
    expect(await storage.sweep({ space: 'contexts', updatedBefore: Date.now() + 60_000 })).toBe(1);
    expect((await readdir(contexts)).sort()).toEqual(others.sort());
    await storage.close();
  });
});

describe('compaction', () => {
  it('keeps a file in proportion to its content, and all of the content, also for who reads meanwhile', async () => {
    const storage = new FileStorage({ storageDir: directory });
    const reader = new FileStorage({ storageDir: directory });
    for (let n = 1; n <= 3000; n++) {
      await storage.commit(
        key('c'),
        [
          { op: 'set', field: 'big', value: JSON.stringify(`${n}${'x'.repeat(1000)}`) },
          { op: 'increment', field: 'n', by: 1 },
          { op: 'log', entry: `${n}` },
        ],
        { logMax: 500, expiry: { set: 1000 } },
      );
      if (n % 500 === 0) expect((await reader.read(key('c')))?.fields.get('n')).toBe(String(n));
    }
    const [file = ''] = (await readdir(join(directory, 'contexts'))).filter((name) => name.endsWith('.jsonl'));
    expect(execFileSync('wc', ['-c', join(directory, 'contexts', file)]).toString()).toMatch(/^\s*\d{4,6} /);
    for (const from of [storage, reader, new FileStorage({ storageDir: directory })]) {
      const record = await from.read(key('c'), { log: 1000 });
      expect(record).toMatchObject({ version: 3000, logTotal: 3000, logDropped: 2500 });
      expect(record?.log).toEqual(Array.from({ length: 500 }, (_, i) => String(2501 + i)));
      expect(record?.fields.get('n')).toBe('3000');
      expect(await from.readLog(key('c'), { before: 2600, limit: 2 })).toMatchObject({
        entries: ['2599', '2600'],
        start: 2598,
      });
    }
    await storage.close();
    await reader.close();
  });

  const fill = (storage: FileStorage, n: number) =>
    storage.commit(
      key('c'),
      [
        { op: 'set', field: 'big', value: JSON.stringify('x'.repeat(100_000)) },
        { op: 'increment', field: 'n', by: 1 },
      ],
      { commitId: `fill ${n}` },
    );

  it('forgets no commit id: what is sent again is not applied again', async () => {
    const storage = new FileStorage({ storageDir: directory });
    for (let n = 1; n <= 6; n++) {
      expect(await fill(storage, n)).toMatchObject({ version: n });
      expect(await fill(storage, n)).toMatchObject({ version: n });
    }
    expect((await storage.read(key('c')))?.fields.get('n')).toBe('6');
    await storage.close();
  });

  it('that fails does not fail the commit before it', async () => {
    const storage = new FileStorage({ storageDir: directory });
    await fill(storage, 1);
    await mkdir(join(directory, 'contexts/c.jsonl.tmp'));
    for (let n = 2; n <= 6; n++) expect(await fill(storage, n)).toMatchObject({ committed: true, version: n });
    expect((await new FileStorage({ storageDir: directory }).read(key('c')))?.fields.get('n')).toBe('6');
    await storage.close();
  });
});

describe('a disk that fails', () => {
  const root = process.getuid?.() === 0;

  it('for want of space refuses the commit, keeps what was there, and goes on when there is space', async () => {
    const mounted = root && spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', directory]).status === 0;
    // Without the right to mount, a limit on the size of files is the real thing that can be had.
    if (!mounted) {
      const script = `import { FileStorage } from ${JSON.stringify(join(process.cwd(), 'dist/storage/index.js'))};
        const storage = new FileStorage({ storageDir: ${JSON.stringify(directory)} });
        const key = { space: 'contexts', scope: [], id: 'c' };
        process.on('SIGXFSZ', () => {});
        let kept = 0, code = '';
        try { for (;;) { await storage.commit(key, [{ op: 'log', entry: JSON.stringify('x'.repeat(5000)) }]); kept++; } } catch (error) { code = error.code; }
        console.log(JSON.stringify({ code, kept, read: (await storage.read(key)).logTotal }));`;
      const { stdout } = spawnSync('sh', [
        '-c',
        `ulimit -f 256; exec "$0" --input-type=module -e "$1"`,
        process.execPath,
        script,
      ]);
      const { code, kept, read } = JSON.parse(stdout.toString());
      expect(['STORAGE_UNAVAILABLE', 'STORAGE_FAILED']).toContain(code);
      expect(read).toBe(kept);
      return;
    }
    try {
      const storage = new FileStorage({ storageDir: directory });
      let kept = 0;
      const fill = async () => {
        for (;;) {
          await storage.commit(key('c'), [{ op: 'log', entry: JSON.stringify('x'.repeat(5000)) }]);
          kept++;
        }
      };
      await expect(fill()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', details: { backend: 'file' } });
      expect(kept).toBeGreaterThan(10);
      expect((await storage.read(key('c')))?.logTotal).toBe(kept);
      await rm(join(directory, 'filler'), { force: true });
      expect(spawnSync('mount', ['-o', 'remount,size=4m', directory]).status).toBe(0);
      await storage.commit(key('c'), [{ op: 'log', entry: '"after"' }]);
      const again = new FileStorage({ storageDir: directory });
      expect(await again.read(key('c'), { log: 1 })).toMatchObject({ logTotal: kept + 1, log: ['"after"'] });
      await storage.close();
      await again.close();
    } finally {
      spawnSync('umount', ['-l', directory]);
    }
  });

  it.runIf(root)('that stays full costs no descriptor for each turn that it refuses', async ({ skip }) => {
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', directory]).status !== 0) skip('may not mount');
    const [storage, other] = [0, 1].map(() => new FileStorage({ storageDir: directory })) as [FileStorage, FileStorage];
    try {
      // Beside another one a lease is a file.
      await other.ping();
      await storage.commit(key('c'), [{ op: 'touch' }]);
      const begin = (n: number) => storage.begin(key(`c${n}`), { token: `t${n}`, leaseMs: 60_000 });
      expect(() => {
        for (let n = 0; ; n++) fs.writeFileSync(join(directory, `filler${n}`), 'x'.repeat(4_096));
      }).toThrow('ENOSPC');
      const before = (await readdir('/proc/self/fd')).length;
      for (let n = 0; n < 20; n++) await expect(begin(n)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
      expect((await readdir('/proc/self/fd')).length).toBeLessThan(before + 5);
      await rm(join(directory, 'filler0'));
      expect(await begin(0)).toEqual({ busy: false, record: undefined });
    } finally {
      await storage.close();
      await other.close();
      spawnSync('umount', ['-l', directory]);
    }
  });

  it('for want of a directory says so, with the file', async () => {
    await writeFile(join(directory, 'file'), '');
    const storage = new FileStorage({ storageDir: join(directory, 'file/states') });
    await expect(storage.commit(key('c'), [{ op: 'touch' }])).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      details: { backend: 'file', file: expect.stringContaining('states') },
    });
    const unavailable = { code: 'STORAGE_UNAVAILABLE', details: { backend: 'file' } };
    await expect(storage.ping()).rejects.toMatchObject(unavailable);
    await expect(storage.read(key('c'))).rejects.toMatchObject(unavailable);
    for (const query of [{}, { scope: [] }, { scope: [], owner: 'ada' }]) {
      await expect(
        storage
          .list({ space: 'contexts', ...query })
          [Symbol.asyncIterator]()
          .next(),
      ).rejects.toMatchObject(unavailable);
    }
    await expect(storage.sweep({ space: 'contexts', updatedBefore: 1 })).rejects.toMatchObject(unavailable);
  });

  it.runIf(process.platform === 'linux')('that lets nobody make a directory says so, and is not asked for ever', () => {
    const script = `
        import { FileStorage } from '${new URL('../../../dist/storage/index.js', import.meta.url)}';
        const storage = new FileStorage({ storageDir: '/proc/nothing-of-ours' });
        const key = { space: 'contexts', scope: [], id: 'ada' };
        const error = await storage.begin(key, { token: 't', leaseMs: 1000 }).catch((error) => error);
        console.log(error.code, error.details.fix);`;
    const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    expect({ stdout, status }).toEqual({ stdout: 'STORAGE_UNAVAILABLE use a directory that can be made\n', status: 0 });
  });

  it('for want of the right to write says so, and reads what is there', async () => {
    const states = join(directory, 'states');
    const storage = new FileStorage({ storageDir: states });
    await storage.commit(key('c'), [{ op: 'set', field: 'x', value: '1' }]);
    await storage.close();
    await mkdir(states, { recursive: true });
    await chmod(join(states, 'contexts'), 0o555);
    await chmod(join(states, '.processes'), 0o555);
    const script = `import { FileStorage } from ${JSON.stringify(join(process.cwd(), 'dist/storage/index.js'))};
      if (process.getuid() === 0) { process.setgid(65534); process.setuid(65534); }
      const storage = new FileStorage({ storageDir: ${JSON.stringify(states)} });
      const key = { space: 'contexts', scope: [], id: 'c' };
      const read = (await storage.read(key))?.fields.get('x');
      const code = await storage.commit(key, [{ op: 'touch' }]).then(() => 'written', (error) => error.code);
      console.log(JSON.stringify({ read, code }));`;
    await chmod(directory, 0o755);
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script]);
    expect(stderr.toString()).toBe('');
    expect(JSON.parse(stdout.toString())).toEqual({ read: '1', code: 'STORAGE_UNAVAILABLE' });
  });

  it('for want of free descriptors closes its own, says so when there are none, and goes on', () => {
    const worker = compiledWorker('test/storage/file/few-files.worker.ts');
    const command = 'ulimit -n 64; exec "$0" "$1" "$2"';
    const args = ['-c', command, process.execPath, worker, JSON.stringify({ directory })];
    const { stdout, stderr, status } = spawnSync('sh', args);
    expect(stderr.toString()).toBe('');
    expect(JSON.parse(stdout.toString())).toEqual({
      right: 300,
      busy: false,
      code: 'STORAGE_UNAVAILABLE',
      after: true,
    });
    expect(status).toBe(0);
  });
});

describe('a file system without hard links, that keeps times in steps of two seconds', () => {
  it('keeps all that is promised', async () => {
    const { linkSync, futimesSync, utimesSync } = fs;
    const coarse = (time: fs.TimeLike) => Math.floor(Number(time) / 2) * 2;
    Object.assign(fs, {
      linkSync: () => {
        throw Object.assign(new Error('EPERM: operation not permitted, link'), { code: 'EPERM' });
      },
      futimesSync: (file: number, a: number, m: number) => futimesSync(file, coarse(a), coarse(m)),
      utimesSync: (path: string, a: number, m: number) => utimesSync(path, coarse(a), coarse(m)),
    });
    syncBuiltinESMExports();
    try {
      const [one, other] = [0, 1].map(() => new FileStorage({ storageDir: directory })) as [FileStorage, FileStorage];
      const work = async (storage: FileStorage, name: string) => {
        for (let n = 0; n < 100; n++) {
          const token = `${name}-${n}`;
          while ((await storage.begin(key('c'), { token, leaseMs: 10_000 })).busy) await delay(1);
          const seen = Number((await storage.read(key('c')))?.fields.get('n') ?? 0);
          const changes = [
            { op: 'set', field: 'n', value: String(seen + 1) },
            { op: 'log', entry: JSON.stringify(`${token} ${'x'.repeat(300)}`) },
          ] as const;
          await storage.commit(key('c'), changes, { lease: { token } });
        }
      };
      await Promise.all([work(one, 'a'), work(other, 'b')]);
      const record = await other.read(key('c'), { log: 200 });
      expect(record).toMatchObject({ logTotal: 200, version: 200, fields: new Map([['n', '200']]) });
      expect(new Set(record?.log).size).toBe(200);
      const path = join(directory, 'contexts/c.jsonl');
      expect(await readFile(path, 'utf8')).not.toContain('"edited"');
      await one.close();
      await other.close();
      expect((await readdir(directory, { recursive: true })).sort()).toEqual([
        '.processes',
        'agentup.json',
        'contexts',
        'contexts/c.jsonl',
      ]);
    } finally {
      Object.assign(fs, { linkSync, futimesSync, utimesSync });
      syncBuiltinESMExports();
    }
  });
});

describe('closing', () => {
  it('in the middle of calls leaves no file open and nothing behind, and fails those that come too late', async () => {
    const before = (await readdir('/proc/self/fd')).length;
    for (let round = 0; round < 4; round++) {
      const storage = new FileStorage({ storageDir: directory });
      const calls = Array.from({ length: 300 }, (_, n) => [
        storage.commit(key(`r${n % 50}`), [{ op: 'log', entry: '1' }]),
        storage.read(key(`r${n % 50}`), { log: 1 }),
        storage.readLog(key(`r${n % 50}`)),
        storage.begin(key(`r${n % 50}`), { token: `${round}-${n}`, leaseMs: 1 }),
      ]).flat();
      const codes = Promise.all(calls.map((call) => call.then(String, (error: { code: string }) => error.code)));
      await storage.close();
      for (const code of await codes) expect(['[object Object]', 'undefined', 'STORAGE_CLOSED']).toContain(code);
    }
    expect((await readdir('/proc/self/fd')).length).toBe(before);
    expect(await readdir(join(directory, '.processes'))).toEqual([]);
  });
});

describe('a process that ends without closing', () => {
  it('ends by itself, and takes its files along', async () => {
    const worker = compiledWorker('test/storage/file/few-files.worker.ts');
    const { status } = spawnSync(process.execPath, [worker, JSON.stringify({ directory })]);
    expect(status).toBe(0);
    expect(await readdir(join(directory, '.processes'))).toEqual([]);
  });
});
