import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs, { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { migrate } from '../../src/operations/index.js';
import { FileStorage } from '../../src/storage/file/file-storage.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';
import { ValkeyStorage } from '../../src/storage/valkey/valkey-storage.js';
import { caches, conversations, digestOf } from '../operations/records.js';
import { startValkey, valkeyUrl } from '../support/index.js';
import { TestClock } from '../support/test-clock.js';
import { cleanEnv, KEYS, type Ran, runCli, runHere, Typist } from './run-cli.js';

const BIN = new URL('../../bin/agentup.js', import.meta.url).pathname;
let cwd: string;

beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'cli-state-'));
  await config('state: { backend: file, storage_dir: ./kept }\n');
  const storage = new FileStorage({ storageDir: join(cwd, 'kept') });
  const context = new ConversationContext(storage, { ttl: 7_200 });
  await context.getOrCreate('ada', { userId: 'u1' });
  await context.setVariable('ada', 'preferences', { theme: 'dark' });
  await context.setMetadata('ada', 'channel', 'web');
  await context.addToHistory('ada', 'user', 'My name is \u001b[31mAda\nand I like tea');
  await context.addToHistory('ada', 'assistant', 'Hello Ada', { model: 'x' });
  await context.scoped({ tenantId: 'hotel' }).addToHistory('bob', 'user', 'hi');
  await context.scoped({ kind: 'session', userId: 'u1' }).addToHistory('s1', 'user', 'in a session');
  await context.scoped({ kind: 'user' }).addToHistory('u2', 'user', 'everywhere');
  await storage.close();
});

afterEach(() => rm(cwd, { recursive: true, force: true }));

const config = (text: string): Promise<void> => writeFile(join(cwd, 'agent_config.yaml'), text);
const state = (...args: string[]): Promise<Ran> => runHere(['state', ...args], { cwd });

async function json<T = Record<string, unknown>>(...args: string[]): Promise<T> {
  const { stdout, stderr } = await state(...args, '--json');
  try {
    return JSON.parse(stdout) as T;
  } catch {
    throw new Error(`${stdout}\n${stderr}`);
  }
}

const open = (directory = 'kept'): FileStorage => new FileStorage({ storageDir: join(cwd, directory) });

describe('agentup state list', () => {
  it('shows conversations of every scope with user, age and backend', async () => {
    const { stdout, stderr, status } = await state('list');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^CONVERSATION +USER +TENANT +SCOPE +LAST WRITTEN +EXPIRES +BACKEND$/m);
    expect(stdout).toMatch(/^ada +u1 +- +conversation +\d+ s +20\d\d-\S+Z +file$/m);
    expect(stdout).toMatch(/^bob +- +hotel +conversation /m);
    expect(stdout).toMatch(/^s1 +u1 +- +session /m);
    expect(stdout).toMatch(/^u2 +u2 +- +user /m);
    expect(stderr).toBe('4 conversations\n');
  });

  it('chooses by user, tenant, age and number', async () => {
    interface List {
      conversations: { contextId: string }[];
      more: boolean;
    }
    const ids = async (...args: string[]): Promise<string[]> =>
      (await json<List>('list', ...args)).conversations.map(({ contextId }) => contextId);
    expect(await ids('--user', 'u1')).toEqual(['ada', 's1']);
    expect(await ids('--tenant', 'hotel')).toEqual(['bob']);
    expect(await ids('--tenant', '', '--user', 'u2')).toEqual(['u2']);
    expect(await ids('--older-than', '1h')).toEqual([]);
    expect(await json<List>('list', '--limit', '2')).toMatchObject({ more: true, conversations: [{}, {}] });
    expect(await json<List>('list', '--limit', '4')).toMatchObject({ more: false });
    for (const bad of [
      ['--older-than', '1 day'],
      ['--limit', '0'],
      ['--limit', 'x'],
    ]) {
      const { status, stderr } = await state('list', ...bad);
      expect([status, stderr.includes(bad[0] ?? '')]).toEqual([2, true]);
    }
  });
});

describe('agentup state show', () => {
  it('is readable: variables, metadata, the conversation as a chat, and nothing that moves the terminal', async () => {
    const { stdout, status } = await state('show', 'ada');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^ada {2}conversation · user u1$/m);
    expect(stdout).toMatch(/^created \S+Z · written \S+Z · expires \S+Z$/m);
    expect(stdout).toContain('Variables\n  preferences = {"theme":"dark"}\n');
    expect(stdout).toContain('Metadata\n  channel = "web"\n');
    expect(stdout).toMatch(
      /Conversation 2 messages\nuser \S+Z\n {2}My name is .*Ada\n {2}and I like tea\nassistant \S+Z\n {2}Hello Ada\n {2}\{"model":"x"\}\n$/,
    );
    expect(stdout).not.toContain('\u001b');
    expect((await state('show', 'ada', '--messages', '1')).stdout).toContain('… 1 older ones: --messages 2');
  });

  it('prints all of it as JSON', async () => {
    expect(await json('show', 's1')).toMatchObject({
      contextId: 's1',
      kind: 'session',
      userId: 'u1',
      backend: 'file',
      variables: {},
      messages: { total: 1, dropped: 0, newest: [{ role: 'user', content: 'in a session' }] },
    });
    expect((await state('show', 's1')).stdout).toContain('Conversation 1 message\n');
  });

  it('says when there is none, and asks which of several', async () => {
    const none = await state('show', 'ad');
    expect(none.status).toBe(1);
    expect(none.stderr).toContain('there is no conversation "ad"');
    const storage = open();
    await new ConversationContext(storage, { scope: { tenantId: 'hotel' } }).setVariable('ada', 'x', 1);
    await storage.close();
    const several = await state('show', 'ada');
    expect(several.status).toBe(2);
    expect(several.stderr).toContain('--tenant');
    expect(await json('show', 'ada', '--tenant', 'hotel')).toMatchObject({ variables: { x: 1 } });
    expect(await json('show', 'ada', '--tenant', '')).toMatchObject({ metadata: { channel: 'web' } });
  });
});

describe('agentup state tail', () => {
  it.each([['ada'], []])('follows %s, and ends with 130 on Ctrl-C', async (...ids) => {
    const child = spawn(process.execPath, [BIN, 'state', 'tail', ...ids, '--every', '50'], { cwd, env: cleanEnv() });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const sees = async (text: string): Promise<void> => {
      for (let tries = 0; !stdout.includes(text) && !stderr.includes(text); tries++) {
        if (tries > 400) throw new Error(`${text} did not come: ${stdout}${stderr}`);
        await delay(25);
      }
    };
    await sees('waiting for messages');
    expect(stdout.includes('Hello Ada')).toBe(ids.length === 1);
    const storage = open();
    const context = new ConversationContext(storage);
    await context.addToHistory('ada', 'user', 'one more');
    await sees('one more');
    await context.addToHistory('new', 'user', 'of another');
    await context.clearHistory('ada');
    await context.addToHistory('ada', 'assistant', 'begun anew');
    await sees('begun anew');
    if (ids.length === 0) await sees('of another');
    expect(stdout.includes('of another')).toBe(ids.length === 0);
    expect(stdout.split('one more')).toHaveLength(2);
    child.kill('SIGINT');
    expect((await once(child, 'close'))[0]).toBe(130);
    await storage.close();
  });
});

describe('agentup state clear and cleanup', () => {
  it('ask nobody where nobody is: --yes is owed', async () => {
    for (const args of [
      ['clear', 'ada'],
      ['clear', 'ada', '--json'],
      ['migrate', '--from', 'file', '--to', 'file', '--to-dir', 'x', '--move'],
      ['migrate', '--from', 'file', '--to', 'file', '--to-dir', 'x', '--mirror'],
    ]) {
      const { status, stderr } = await state(...args);
      expect(status).toBe(2);
      expect(stderr).toContain('pass --yes');
    }
    expect((await json<{ conversations: unknown[] }>('list')).conversations).toHaveLength(4);
  });

  it('ask at a terminal, and take no for an answer', async () => {
    const typist = new Typist(['state', 'clear', 'ada'], { cwd });
    await typist.sees('Remove the conversation ada (user u1, 2 messages) for good?');
    typist.type(KEYS.enter);
    expect(await typist.exited).toBe(130);
    const again = new Typist(['state', 'clear', 'ada'], { cwd });
    await again.sees('for good?');
    again.type('y');
    again.type(KEYS.enter);
    await again.sees('removed ada');
    expect(await again.exited).toBe(0);
    expect((await state('show', 'ada')).status).toBe(1);
  });

  it('clear removes also what can no longer be read', async () => {
    await writeFile(join(cwd, 'kept/contexts/ada.jsonl'), '\u0000 nothing of this can be read\n'.repeat(3));
    const processOf = (...args: string[]): Promise<Ran> => runCli(['state', ...args], { cwd });
    expect((await processOf('show', 'ada')).status).toBe(1);
    const { stdout } = await processOf('clear', 'ada', '--yes', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ removed: true, contextId: 'ada' });
    expect(existsSync(join(cwd, 'kept/contexts/ada.jsonl'))).toBe(false);
  });

  it('clear does not take the one of another tenant for one that can no longer be read', async () => {
    const storage = open();
    await new ConversationContext(storage, { scope: { tenantId: 'hotel' } }).setVariable('ada', 'x', 1);
    await storage.close();
    await writeFile(join(cwd, 'kept/contexts/ada.jsonl'), 'nothing of this can be read\n');
    const { status, stderr } = await state('clear', 'ada', '--yes');
    expect([status, stderr]).toEqual([
      2,
      expect.stringContaining('one that is damaged (tenant -); conversation (tenant hotel'),
    ]);
    expect(await json('show', 'ada', '--tenant', 'hotel')).toMatchObject({ variables: { x: 1 } });
    expect(await json('clear', 'ada', '--tenant', '', '--yes')).toMatchObject({ removed: true });
    expect(existsSync(join(cwd, 'kept/contexts/ada.jsonl'))).toBe(false);
    expect(await json('clear', 'ada', '--yes')).toMatchObject({ removed: true, tenantId: 'hotel' });
  });

  it('cleanup removes what is old, of every scope, and nothing else', async () => {
    const clock = new TestClock(Date.now() - 90_000_000);
    const storage = new FileStorage({ storageDir: join(cwd, 'kept'), clock });
    const old = new ConversationContext(storage, { clock });
    await old.setVariable('old', 'x', 1);
    await old.scoped({ kind: 'session', tenantId: 't', userId: 'u' }).setVariable('old', 'x', 1);
    await caches(storage);
    await storage.close();
    expect(await json('cleanup', '--older-than', '24h', '--dry-run')).toEqual({ removed: 0, old: 2 });
    expect((await state('cleanup', '--older-than', '24h')).status).toBe(2);
    expect((await state('cleanup', '--older-than', '24h', '--yes')).stdout).toBe('removed 2 conversations\n');
    expect((await json<{ conversations: unknown[] }>('list')).conversations).toHaveLength(4);
    expect((await state('cleanup')).stderr).toContain('--older-than is missing');
    // Caches are no conversations.
    expect(await readdir(join(cwd, 'kept'))).toContain('cache-tables');
  });
});

describe('agentup state stats and test', () => {
  it('count, weigh, and time', async () => {
    expect(await json('stats')).toMatchObject({
      backend: 'file',
      all: { records: 4, messages: 5, bytes: expect.any(Number), oldest: expect.stringMatching(/Z$/) },
      spaces: [{ space: 'contexts', records: 2 }, { space: 'sessions' }, { space: 'users' }],
      users: [{ userId: 'u1', records: 1, messages: 2 }],
    });
    const { stdout } = await state('stats');
    expect(stdout).toMatch(/^all +4 +5 +\d+ B /m);
    expect(await json('test')).toMatchObject({
      ok: true,
      backend: 'file',
      milliseconds: { write: expect.any(Number) },
    });
    expect((await state('test')).stdout).toMatch(/ok +delete +[\d.]+ ms/);
  });

  it('say that memory cannot be looked at from outside', async () => {
    await config('state: { backend: memory }\n');
    for (const command of [['list'], ['show', 'x'], ['stats'], ['export']]) {
      const { status, stderr } = await state(...command);
      expect(status).toBe(1);
      expect(stderr).toContain('lives and ends with its own process');
    }
  });
});

describe('agentup state export and import', () => {
  it('go by a file or a pipe, and bring everything back', async () => {
    const exported = await state('export', 'backup.ndjson');
    expect(exported).toMatchObject({ status: 0, stdout: '', stderr: 'exported 4 records to backup.ndjson\n' });
    const piped = await state('export', '-');
    expect(piped.stdout.split('\n').slice(1)).toEqual(
      (await readFile(join(cwd, 'backup.ndjson'), 'utf8')).split('\n').slice(1),
    );
    expect((await state('export', 'backup.ndjson')).status).toBe(4);
    expect((await state('export', 'backup.ndjson', '--force', '--conversations')).status).toBe(0);
    const all = open();
    const digest = await digestOf(all);
    await all.close();
    await config('state: { backend: file, storage_dir: ./other }\n');
    expect(await json('import', 'backup.ndjson', '--dry-run')).toMatchObject({ records: 4, written: 4 });
    expect(existsSync(join(cwd, 'other/contexts'))).toBe(false);
    const imported = await runHere(['state', 'import', '--json'], { cwd, input: piped.stdout });
    expect(JSON.parse(imported.stdout)).toEqual({
      records: 4,
      written: 4,
      kept: 0,
      expired: 0,
      damaged: 0,
      replies: true,
    });
    const other = open('other');
    expect(await digestOf(other)).toEqual(digest);
    await other.close();
    const damaged = await runHere(['state', 'import'], { cwd, input: piped.stdout.replace('Hello', 'Hallo') });
    expect(damaged.status).toBe(1);
    expect(damaged.stderr).toMatch(/line \d+: the record ada is damaged/);
    expect((await state('import', 'nowhere.ndjson')).stderr).toContain('cannot be read');
    expect((await readdir(cwd)).filter((name) => name.includes('.tmp'))).toEqual([]);
  });

  it('end with 1 where a file could not be read, and so does a migration: the rest is there', async () => {
    const damaged = join(cwd, 'kept/contexts/ada.jsonl');
    const whole = await readFile(damaged, 'utf8');
    for (const [text, records] of [
      ['nothing of this can be read\n', 3],
      [whole.replace('Hello Ada"', 'Hello Ada'), 4],
    ] as const) {
      await writeFile(damaged, text);
      for (const args of [
        ['export', `${records}.ndjson`],
        ['migrate', '--from', 'file', '--to', 'file', '--to-dir', `${records}`],
      ]) {
        const { status, stdout, stderr } = await runHere(['state', ...args], { cwd, env: { AGENTUP_LOG: 'silent' } });
        expect([status, stdout + stderr]).toEqual([1, expect.stringMatching(`(exported|copied) ${records} records`)]);
        expect(stderr).toContain(`1 record could not be read and taken along whole: ${damaged}`);
      }
      await config(`state: { backend: file, storage_dir: ./from-export-${records} }\n`);
      expect(await json('import', `${records}.ndjson`)).toMatchObject({ written: records });
      await config('state: { backend: file, storage_dir: ./kept }\n');
    }
  });

  it('an import goes on where a record is damaged at the target, leaves it alone, and ends with 1', async () => {
    await state('export', 'all.ndjson');
    const damaged = join(cwd, 'kept/contexts/ada.jsonl');
    await writeFile(damaged, 'nothing of this can be read\n');
    const kept = await readdir(join(cwd, 'kept'), { recursive: true });
    await rm(join(cwd, 'kept', kept.find((name) => name.endsWith('s1.jsonl')) ?? 'none'));
    for (const [args, verb] of [
      [['--dry-run'], 'would import'],
      [[], 'imported'],
    ] as const) {
      const { status, stdout, stderr } = await state('import', 'all.ndjson', ...args);
      expect([status, stdout]).toEqual([1, `${verb} 1 record; 2 as new here already, 0 expired\n`]);
      expect(stderr).toContain(`1 record could not be read and replaced: ${damaged}`);
    }
    expect(await readFile(damaged, 'utf8')).toBe('nothing of this can be read\n');
    expect(await json('import', 'all.ndjson')).toMatchObject({ records: 4, written: 0, kept: 3, damaged: 1 });
  });

  it('a file is on the disk before it takes its name, and its name before the command ends', async () => {
    const { fsync, fsyncSync, renameSync } = fs;
    const steps: string[] = [];
    const nameOf = (file: number): string => basename(fs.readlinkSync(`/proc/self/fd/${file}`));
    const noted = {
      fsync: (file: number, done: fs.NoParamCallback) => {
        fsync(file, (error) => {
          steps.push(`synced ${nameOf(file)}`);
          done(error);
        });
      },
      fsyncSync: (file: number) => void steps.push(`synced ${nameOf(file)}`),
      renameSync: (from: string, to: string) => {
        steps.push(`renamed ${basename(from)}`);
        renameSync(from, to);
      },
    };
    Object.assign(fs, noted);
    syncBuiltinESMExports();
    try {
      expect(await state('export', 'backup.ndjson')).toMatchObject({ status: 0 });
    } finally {
      Object.assign(fs, { fsync, fsyncSync, renameSync });
      syncBuiltinESMExports();
    }
    const temporary = `backup.ndjson.tmp-${process.pid}`;
    const mine = steps.filter((step) => /backup|cli-state/.test(step));
    expect(mine).toEqual([`synced ${temporary}`, `renamed ${temporary}`, `synced ${basename(cwd)}`]);
  });

  it('stop quietly when the reader does', async () => {
    const child = spawn('/bin/sh', ['-c', `"${process.execPath}" "${BIN}" state export | head -n 1`], {
      cwd,
      env: cleanEnv(),
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += chunk));
    await once(child, 'close');
    expect(text).toMatch(/^\{"export":\{"version":1[^\n]*\n(exported 4 records\n)?$/);
  });

  it('an import that is interrupted ends with 130, and goes on when started again', async () => {
    const exported = (await state('export')).stdout;
    await config('state: { backend: file, storage_dir: ./copy }\n');
    const child = spawn(process.execPath, [BIN, 'state', 'import'], { cwd, env: cleanEnv(), stdio: 'pipe' });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    // The last record is not whole, and the rest does not come.
    child.stdin.write(exported.slice(0, exported.lastIndexOf('{"end"')));
    while (!existsSync(join(cwd, 'copy/contexts'))) await delay(10);
    child.kill('SIGINT');
    expect((await once(child, 'close'))[0]).toBe(130);
    expect(said).toContain('the import was interrupted');
    expect(said).toContain('start it again');
    await writeFile(join(cwd, 'all.ndjson'), exported);
    const report = await json<{ written: number; kept: number }>('import', 'all.ndjson');
    expect(report.written).toBeGreaterThan(0);
    expect(report.kept).toBeGreaterThan(0);
    expect((await state('export')).stdout.split('\n').slice(1)).toEqual(exported.split('\n').slice(1));
  });
});

describe('agentup state migrate', () => {
  const target = ['--to', 'valkey', '--to-url', '', '--to-prefix', ''];

  it('brings everything to Valkey and back, by the flags of each side, and shows how far it is on a terminal', async () => {
    const prefix = `cli-${process.pid}-${Date.now()}:`;
    const to = target.map((flag, i) => (i === 3 ? valkeyUrl() : i === 5 ? prefix : flag));
    const kept = open();
    await caches(kept);
    const all = await digestOf(kept);
    await kept.close();
    expect(await json('migrate', '--from', 'file', ...to, '--dry-run')).toMatchObject({
      copied: all.records,
      digest: '',
    });
    const typist = new Typist(['state', 'migrate', '--from', 'file', ...to], { cwd });
    await typist.sees(`verifying ${all.records}/${all.records}`);
    await typist.sees(all.digest);
    expect(await typist.exited).toBe(0);
    expect(typist.shown).toMatch(/█+ +100 %/);
    const valkey = new ValkeyStorage({ url: valkeyUrl(), keyPrefix: prefix });
    expect(await digestOf(valkey)).toEqual(all);
    await valkey.close();
    // From what the configuration names, to another directory.
    await config(`state: { backend: valkey, url: "${valkeyUrl()}", key_prefix: "${prefix}" }\n`);
    const moved = await json('migrate', '--from', 'valkey', '--to', 'file', '--to-dir', 'back', '--move', '--yes');
    expect(moved).toMatchObject({ copied: all.records, moved: all.records, digest: all.digest });
    const back = open('back');
    expect(await digestOf(back)).toEqual(all);
    await back.close();
    expect((await json<{ conversations: unknown[] }>('list')).conversations).toEqual([]);
  });

  it('leaves encrypted what is encrypted, from and to a server that the configuration encrypts', async () => {
    const prefix = `cli-enc-${process.pid}-${Date.now()}:`;
    const key = Buffer.alloc(32, 7).toString('base64');
    const backend = `backend: valkey, url: "${valkeyUrl()}", key_prefix: "${prefix}"`;
    await config(`state: { ${backend}, encryption: { key: "${key}" } }\n`);
    const place: StorageOptions = { backend: 'valkey', url: valkeyUrl(), keyPrefix: prefix, encryption: { key } };
    const start = await openStorage(place);
    await new ConversationContext(start).setVariable('eve', 'card', 'a secret');
    await start.close();
    await json('migrate', '--from', 'valkey', '--to', 'file', '--to-dir', 'copy', '--move', '--yes');
    const copy = await readFile(join(cwd, 'copy/contexts/eve.jsonl'), 'utf8');
    expect(copy).toContain('"var:card":"\\u0001enc1.');
    expect(copy).not.toContain('a secret');
    await json('migrate', '--from', 'file', '--from-dir', 'copy', '--to', 'valkey');
    expect(await json('show', 'eve')).toMatchObject({ variables: { card: 'a secret' } });
  });

  it('is interrupted by Ctrl-C with 130, and goes on where it was', async () => {
    const many = new FileStorage({ storageDir: join(cwd, 'many'), durability: 'never' });
    await migrate(await conversations(800, Date.now() - 60_000), many);
    await many.close();
    const flags = [
      'state',
      'migrate',
      '--from',
      'file',
      '--from-dir',
      'many',
      '--to',
      'file',
      '--to-dir',
      'copy',
      '--parallel',
      '1',
    ];
    const child = spawn(process.execPath, [BIN, ...flags], { cwd, env: cleanEnv(), stdio: 'ignore' });
    while (!existsSync(join(cwd, 'copy/contexts'))) await delay(10);
    child.kill('SIGINT');
    expect((await once(child, 'close'))[0]).toBe(130);
    const { stdout } = await runHere([...flags, '--json'], { cwd });
    const report = JSON.parse(stdout) as { copied: number; same: number };
    expect(report.copied + report.same).toBe(800);
    expect(report.same).toBeGreaterThan(0);
    expect(report.copied).toBeGreaterThan(0);
  });

  it('names the flag that is missing or wrong, and no password', async () => {
    const cases: [string[], string][] = [
      [[], '--from is missing'],
      [['--from', 'file'], '--to is missing'],
      [['--from', 'file', '--to', 'sqlite'], '--to: "sqlite"'],
      [['--from', 'file', '--to', 'valkey'], '--to-url is missing'],
      [['--from', 'file', '--to', 'valkey', '--to-url', 'valkey://:s3cret@h'], '--to-prefix is missing'],
      [['--from', 'file', '--to', 'valkey', '--to-url', 'http://:s3cret@h', '--to-prefix', 'p'], '--to-url'],
      [['--from', 'file', '--to', 'valkey', '--to-url', 'valkey://a:1/s3cret@h', '--to-prefix', 'p'], '%2F for /'],
      [['--from', 'file', '--to', 'file', '--to-dir', 'x', '--move', '--mirror', '--yes'], '--mirror would remove'],
      [['--from', 'file', '--from-dir', 'kepd', '--to', 'file', '--to-dir', 'x'], '--from-dir: there is no '],
      [['--from', 'file', '--to', 'file'], 'the same storage; name another with --to-dir'],
      [['--from', 'memory', '--to', 'file'], '--from: what is kept in memory ends with its process'],
      [['--from', 'file', '--to', 'memory'], '--to: what is kept in memory ends with its process'],
      [['--from', 'file', '--to', 'file', '--to-dir', 'x', '--parallel', '0'], '--parallel'],
    ];
    for (const [flags, message] of cases) {
      const { status, stderr } = await state('migrate', ...flags);
      expect([status, stderr]).toEqual([2, expect.stringContaining(message)]);
      expect(stderr).not.toContain('s3cret');
    }
    const server = await startValkey();
    await server.stop();
    const url = `valkey://:s3cret@127.0.0.1:${server.port}`;
    const down = await state('migrate', '--from', 'file', '--to', 'valkey', '--to-url', url, '--to-prefix', 'p:');
    expect(down.status).toBe(1);
    expect(down.stderr + down.stdout).not.toContain('s3cret');
  });
});
