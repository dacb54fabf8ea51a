import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'iovalkey';
import { afterAll, describe, expect, it } from 'vitest';
import { ConversationContext, withState } from '../../../src/index.js';
import { encode } from '../../../src/json.js';
import { EncryptedStorage } from '../../../src/storage/encryption/encrypted-storage.js';
import type { EncryptionOptions } from '../../../src/storage/encryption/encryption-key.js';
import { FileStorage } from '../../../src/storage/file/file-storage.js';
import type { RecordKey } from '../../../src/storage/keys.js';
import { MemoryStorage } from '../../../src/storage/memory-storage.js';
import type { Change, StateStorage } from '../../../src/storage/state-storage.js';
import { ValkeyStorage } from '../../../src/storage/valkey/valkey-storage.js';
import { valkeyUrl } from '../../support/index.js';
import { RecordingStorage } from '../../support/recording-storage.js';
import { collect } from '../valkey/support.js';

const newKey = (): string => randomBytes(32).toString('base64');
const KEY = newKey();
const key = (id = 'c1', space = 'contexts', ...scope: string[]): RecordKey => ({ space, scope, id });
const set = (field: string, value: unknown): Change => ({ op: 'set', field, value: encode(value) });
const code = (value: string) => expect.objectContaining({ code: value });
const encrypted = (inner: StateStorage, options: Partial<EncryptionOptions> = {}) =>
  new EncryptedStorage(inner, { key: KEY, ...options });

const directory = mkdtempSync(join(tmpdir(), 'agentup-encrypted-'));
const keyPrefix = `encrypted:${randomBytes(6).toString('hex')}:`;
const client = new Redis(valkeyUrl());
const open: StateStorage[] = [];
const kept = <T extends StateStorage>(storage: T): T => {
  open.push(storage);
  return storage;
};

afterAll(async () => {
  for (const storage of open) await storage.close();
  rmSync(directory, { recursive: true, force: true });
  const keys = await client.keys(`${keyPrefix}*`);
  if (keys.length > 0) await client.unlink(...keys);
  await client.quit();
});

/** All bytes below the directory, names of files included. */
function bytesOf(path: string): string {
  if (!statSync(path).isDirectory()) return readFileSync(path, 'latin1');
  return readdirSync(path)
    .map((name) => `${name}\n${bytesOf(join(path, name))}`)
    .join('\n');
}

/** Everything that the server holds for these tests. */
async function onServer(): Promise<string> {
  const found: unknown[] = [];
  for (const name of await client.keys(`${keyPrefix}*`)) {
    const type = await client.type(name);
    found.push(name);
    if (type === 'string') found.push(await client.get(name));
    if (type === 'hash') found.push(await client.hgetall(name));
    if (type === 'list') found.push(await client.lrange(name, 0, -1));
  }
  return JSON.stringify(found);
}

describe('what is stored', () => {
  const backends: [string, () => StateStorage, () => Promise<string>][] = [
    ['file', () => new FileStorage({ storageDir: directory }), async () => bytesOf(directory)],
    ['valkey', () => new ValkeyStorage({ url: valkeyUrl(), keyPrefix }), onServer],
  ];
  it.each(backends)('%s: names are there, values, messages, sums and replies are not', async (_, make, stored) => {
    const storage = kept(encrypted(make()));
    const lease = { token: 'l1' };
    await storage.begin(key(), { token: 'l1', leaseMs: 60_000 });
    const changes: Change[] = [
      set('var:name', 'Zdenka'),
      { op: 'increment', field: 'var:count', by: 7_777_777 },
      { op: 'append', field: 'var:list', item: '"Oslo-Zdenka"' },
      { op: 'log', entry: '{"content":"Zdenka said"}' },
      { op: 'increment', field: 'var:gone', by: 8_888_888 },
      { op: 'remove', field: 'var:gone' },
    ];
    const idempotency = { key: 'message-1', reply: '"Hello Zdenka"', keep: 5 };
    const options = { lease, commitId: 'l1', idempotency, maxFields: 3 };
    const first = await storage.commit(key(), changes, options);
    const raw = await stored();
    expect(raw).toContain('var:name');
    expect(raw).toContain('enc1.');
    expect(raw).not.toMatch(/Zdenka|7777777|8888888/);
    await storage.commit(key(), [{ op: 'increment', field: 'var:count', by: 1 }]);
    const other = kept(encrypted(make()));
    for (const answer of [first, await other.commit(key(), changes, options)]) {
      expect(answer.committed && [...answer.incremented]).toEqual([
        ['var:count', 7_777_777],
        ['var:gone', 8_888_888],
      ]);
    }
    const record = await other.read(key(), { log: 1, idempotencyKey: 'message-1' });
    expect(Object.fromEntries(record?.fields ?? [])).toEqual({
      'var:name': '"Zdenka"',
      'var:count': '7777778',
      'var:list': '["Oslo-Zdenka"]',
    });
    expect([record?.log, record?.reply]).toEqual([['{"content":"Zdenka said"}'], '"Hello Zdenka"']);
  });

  it('is read again by another process, whatever the ciphertext looks like', async () => {
    const storageDir = join(directory, 'many');
    const writer = encrypted(new FileStorage({ storageDir }));
    // Some of them hold what looks like a number that JSON.stringify would write otherwise.
    for (let i = 0; i < 300; i++)
      await writer.commit(key(), [set(`f${i}`, 'x'.repeat(200)), { op: 'log', entry: `${i}` }]);
    await writer.close();
    const reader = kept(encrypted(new FileStorage({ storageDir })));
    const record = await reader.read(key(), { log: 300 });
    expect([...(record?.fields.values() ?? [])]).toEqual(Array(300).fill(encode('x'.repeat(200))));
    expect(record?.log).toHaveLength(300);
  });

  it('is another text each time, of the same value', async () => {
    const inner = new MemoryStorage();
    await encrypted(inner).commit(key(), [set('a', 1), set('b', 1)]);
    const { fields } = (await inner.read(key())) ?? {};
    expect(fields?.get('a')).not.toBe(fields?.get('b'));
  });
});

describe('a key that is not the one', () => {
  const written = async (): Promise<StateStorage> => {
    const inner = new MemoryStorage();
    await encrypted(inner).commit(key(), [set('a', 1), { op: 'log', entry: '1' }], {
      idempotency: { key: 'm', reply: '1', keep: 3 },
    });
    return inner;
  };

  it('is an error of every read, and of what would be written on it', async () => {
    const wrong = encrypted(await written(), { key: newKey() });
    const calls: [string, () => Promise<unknown>][] = [
      ['read', () => wrong.read(key())],
      ['readLog', () => wrong.readLog(key())],
      ['begin', () => wrong.begin(key(), { token: 't', leaseMs: 1_000 })],
      ['list', () => collect(wrong.list({ space: 'contexts', contents: true }))],
      ['refused', () => wrong.commit(key(), [set('a', 2)], { condition: { exists: false } })],
      ['increment', () => wrong.commit(key(), [{ op: 'increment', field: 'a', by: 1 }])],
      ['condition', () => wrong.commit(key(), [set('b', 2)], { condition: { fields: new Map([['a', '1']]) } })],
    ];
    for (const [name, call] of calls) await expect(call(), name).rejects.toEqual(code('KEY_MISSING'));
  });

  it('names the id of the key and the place, not the value', async () => {
    const wrong = encrypted(await written(), { key: newKey() });
    const error = await wrong.read(key()).catch((thrown) => thrown);
    expect(error.details).toMatchObject({ recordId: 'c1', space: 'contexts', field: 'a' });
    expect(error.details.fix).toMatch(/add the key with the id [\w-]{8} to state\.encryption\.previous/);
  });

  it('leaves everything as it was, and blocks nobody', async () => {
    const inner = await written();
    const context = new ConversationContext(encrypted(inner, { key: newKey() }), { wait: 1 });
    let runs = 0;
    const handle = withState(async () => runs++, { storage: encrypted(inner, { key: newKey() }) });
    await expect(handle({ id: '1', contextId: 'c1', text: '' })).rejects.toEqual(code('KEY_MISSING'));
    await expect(context.getVariables('c1')).rejects.toEqual(code('KEY_MISSING'));
    expect(runs).toBe(0);
    const right = encrypted(inner);
    expect((await right.read(key()))?.version).toBe(1);
    expect((await right.begin(key(), { token: 'next', leaseMs: 1_000 })).busy).toBe(false);
  });

  it('of before opens what it encrypted, while what is written now gets the new one', async () => {
    const inner = await written();
    const before = (await inner.read(key()))?.fields.get('a');
    const storage = encrypted(inner, { key: newKey(), previous: [newKey(), KEY] });
    const record = await storage.read(key(), { log: 1, idempotencyKey: 'm' });
    expect([record?.fields.get('a'), record?.log, record?.reply]).toEqual(['1', ['1'], '1']);
    await storage.commit(key(), [{ op: 'increment', field: 'a', by: 1 }, set('b', 1)]);
    const after = (await inner.read(key()))?.fields;
    expect(after?.get('a')?.slice(0, 21)).toBe(after?.get('b')?.slice(0, 21));
    expect(after?.get('a')?.slice(0, 21)).not.toBe(before?.slice(0, 21));
  });
});

describe('a value that was changed or moved', () => {
  const inner = new MemoryStorage();
  const storage = encrypted(inner);
  const move = async (token: string, to: RecordKey, field: string) => {
    await inner.delete(to);
    await inner.commit(to, [{ op: 'set', field, value: token }]);
    return storage.read(to);
  };

  it('does not open in another field, record, scope, space, or as a message', async () => {
    await storage.commit(key(), [set('a', 1), { op: 'log', entry: '1' }]);
    const record = await inner.read(key(), { log: 1 });
    const token = record?.fields.get('a') as string;
    expect((await move(token, key(), 'a'))?.fields.get('a')).toBe('1');
    const places: [RecordKey, string][] = [
      [key(), 'b'],
      [key('c2'), 'a'],
      [key('c1', 'contexts', 'tenant'), 'a'],
      [key('c1', 'users'), 'a'],
    ];
    for (const [to, field] of places) await expect(move(token, to, field)).rejects.toEqual(code('DECRYPTION_FAILED'));
    await expect(move(record?.log[0] as string, key('c3'), 'a')).rejects.toEqual(code('DECRYPTION_FAILED'));
    await inner.commit(key('c4'), [{ op: 'log', entry: token }]);
    await expect(storage.readLog(key('c4'))).rejects.toEqual(code('DECRYPTION_FAILED'));
  });

  it('is told from a value that is not there, wherever it is damaged', async () => {
    await storage.commit(key('d'), [set('a', 'some text')]);
    const token = (await inner.read(key('d')))?.fields.get('a') as string;
    for (const at of [22, 40, 50, token.length - 4]) {
      const other = token[at] === 'A' ? 'B' : 'A';
      const damaged = token.slice(0, at) + other + token.slice(at + 1);
      await expect(move(damaged, key('d'), 'a'), String(at)).rejects.toEqual(code('DECRYPTION_FAILED'));
    }
    for (const cut of [`${token.slice(0, 21)}"`, `${token.slice(0, 30)}"`]) {
      await expect(move(cut, key('d'), 'a')).rejects.toEqual(code('DECRYPTION_FAILED'));
    }
  });
});

describe('a store that is in clear', () => {
  it('is refused, and says what to do', async () => {
    const inner = new MemoryStorage();
    await inner.commit(key(), [set('a', 1), { op: 'log', entry: '1' }]);
    const error = await encrypted(inner)
      .read(key())
      .catch((thrown) => thrown);
    expect(error).toEqual(code('VALUE_NOT_ENCRYPTED'));
    expect(error.details.fix).toContain('agentup state reencrypt');
    await expect(encrypted(inner).readLog(key())).rejects.toEqual(code('VALUE_NOT_ENCRYPTED'));
  });

  it('is read where that is allowed, and becomes encrypted bit by bit', async () => {
    const inner = new MemoryStorage();
    await inner.commit(key(), [set('a', 1), set('b', 1), { op: 'log', entry: '1' }]);
    const storage = encrypted(inner, { allowClear: true });
    const answer = await storage.commit(key(), [
      { op: 'increment', field: 'a', by: 1 },
      { op: 'log', entry: '2' },
    ]);
    expect(answer.committed && answer.incremented.get('a')).toBe(2);
    const record = await storage.read(key(), { log: 2 });
    expect([Object.fromEntries(record?.fields ?? []), record?.log]).toEqual([{ a: '2', b: '1' }, ['1', '2']]);
    const raw = await inner.read(key(), { log: 2 });
    expect(raw?.fields.get('a')).toContain('enc1.');
    expect([raw?.fields.get('b'), raw?.log[0]]).toEqual(['1', '1']);
  });
});

describe('a store that is encrypted, without a key', () => {
  it('is an error in turns and outside of them, and what is in it stays', async () => {
    const inner = new MemoryStorage();
    await encrypted(inner).commit(key(), [set('var:name', 'ada'), { op: 'log', entry: '{"content":"hi"}' }]);
    const context = new ConversationContext(inner, { wait: 1 });
    let runs = 0;
    const handle = withState(async (_task, own, id) => own.setVariable(id, 'name', `new ${runs++}`), {
      storage: inner,
    });
    for (let again = 0; again < 2; again++) {
      await expect(handle({ id: '1', contextId: 'c1', text: '' })).rejects.toEqual(code('KEY_MISSING'));
    }
    await expect(context.getVariable('c1', 'name')).rejects.toEqual(code('KEY_MISSING'));
    await expect(context.getHistory('c1')).rejects.toEqual(code('KEY_MISSING'));
    expect(runs).toBe(0);
    expect((await encrypted(inner).read(key()))?.fields.get('var:name')).toBe('"ada"');
  });

  it('is one too where only a variable is, or only a message', async () => {
    const inner = new MemoryStorage();
    await encrypted(inner).commit(key('variable'), [set('var:name', 'ada')]);
    await encrypted(inner).commit(key('message'), [{ op: 'log', entry: '{"content":"hi"}' }]);
    let runs = 0;
    const handle = withState(async (_task, own, id) => own.setVariable(id, 'other', runs++), { storage: inner });
    for (const contextId of ['variable', 'message']) {
      await expect(handle({ id: '1', contextId, text: '' })).rejects.toEqual(code('KEY_MISSING'));
    }
    expect(runs).toBe(0);
  });

  it('cannot be imitated by what users write', async () => {
    const inner = new MemoryStorage();
    const context = new ConversationContext(inner);
    await encrypted(inner).commit(key(), [set('var:name', 'ada')]);
    const text = JSON.parse((await inner.read(key()))?.fields.get('var:name') as string);
    await expect(context.setVariable('c2', 'x', text)).rejects.toEqual(code('VALUE_NOT_JSON'));
    await context.setVariable('c2', 'x', [text]);
    await context.addToHistory('c2', 'user', text);
    expect(await context.getVariable('c2', 'x')).toEqual([text]);
    expect((await context.getHistory('c2'))[0]?.content).toBe(text);
  });
});

describe('what it costs', () => {
  const turns = () => {
    const recording = new RecordingStorage(new MemoryStorage());
    const storage = encrypted(recording);
    const names = () => recording.calls.splice(0).map(({ name }) => name);
    return { recording, storage, names };
  };

  it('a turn is two calls, also where it counts and appends', async () => {
    const { storage, names } = turns();
    const handle = withState(
      async (_task, context, id) => {
        await context.addToHistory(id, 'user', 'hi');
        await context.setVariable(id, 'x', 1);
        await context.appendToVariable(id, 'list', 1);
        return context.incrementVariable(id, 'n');
      },
      { storage },
    );
    for (let turn = 1; turn <= 3; turn++) {
      expect(await handle({ id: `${turn}`, contextId: 'c1', text: '' })).toBe(turn);
      expect(names()).toEqual(['begin', 'commit']);
    }
  });

  it('a save in between is one more', async () => {
    const { storage, names } = turns();
    const handle = withState(
      async (_task, context, id) => {
        await context.incrementVariable(id, 'n');
        await context.save(id);
        await context.incrementVariable(id, 'n');
        await context.save(id);
        return context.incrementVariable(id, 'n');
      },
      { storage },
    );
    await handle({ id: '1', contextId: 'c1', text: '' });
    names();
    expect(await handle({ id: '2', contextId: 'c1', text: '' })).toBe(6);
    expect(names()).toEqual(['begin', 'commit', 'commit', 'commit']);
  });

  it('a turn that meets somebody else’s write asks once more, and loses nothing', async () => {
    const { storage, recording, names } = turns();
    const other = encrypted(recording);
    const handle = withState(
      async (_task, context, id) => {
        await context.incrementVariable(id, 'n');
        await other.commit(key('c1'), [{ op: 'increment', field: 'var:n', by: 10 }]);
      },
      { storage },
    );
    await handle({ id: '1', contextId: 'c1', text: '' });
    expect(names()).toEqual(['begin', 'read', 'commit', 'commit', 'commit']);
    expect((await storage.read(key()))?.fields.get('var:n')).toBe('11');
  });
});

it('a turn whose change does not fit what it has seen is judged by what is there when it commits', async () => {
  const inner = new MemoryStorage();
  const [storage, other] = [encrypted(inner), encrypted(inner)];
  await storage.commit(key(), [set('n', 'none yet')]);
  await storage.begin(key(), { token: 'a', leaseMs: 10_000 });
  await other.commit(key(), [set('n', 1)]);
  const counted = await storage.commit(key(), [{ op: 'increment', field: 'n', by: 1 }], { lease: { token: 'a' } });
  expect(counted).toMatchObject({ committed: true, incremented: new Map([['n', 2]]) });
});

it('what one record holds is not taken for what another does, under the same token', async () => {
  const storage = encrypted(new MemoryStorage());
  for (const id of ['c1', 'c2']) {
    await storage.commit(key(id), [set('n', 1)]);
    await storage.begin(key(id), { token: 'same', leaseMs: 10_000 });
  }
  const counted = await storage.commit(key('c1'), [{ op: 'increment', field: 'n', by: 1 }]);
  expect(counted).toMatchObject({ incremented: new Map([['n', 2]]) });
  const leased = await storage.commit(key('c1'), [{ op: 'increment', field: 'n', by: 1 }], {
    lease: { token: 'same' },
  });
  expect(leased).toMatchObject({ incremented: new Map([['n', 3]]) });
});

it('a sum that a storage keeps for a commit that is sent again looks different each time', async () => {
  const inner = new MemoryStorage();
  const hidden = new Set<unknown>();
  const commit = inner.commit.bind(inner);
  inner.commit = async (...given) => {
    const answer = await commit(...given);
    if (answer.committed) hidden.add(answer.incremented.get('n'));
    return answer;
  };
  const storage = encrypted(inner);
  for (const commitId of ['one', 'two', 'three']) {
    const answer = await storage.commit(key(), [{ op: 'increment', field: 'n', by: 0 }], { commitId });
    expect(answer).toMatchObject({ incremented: new Map([['n', 0]]) });
  }
  expect(hidden.size).toBe(3);
});

it('counts exactly, however many write at once', async () => {
  const inner = kept(new ValkeyStorage({ url: valkeyUrl(), keyPrefix }));
  const instances = [0, 1, 2].map(() => encrypted(inner));
  const many = key('many');
  await Promise.all(
    Array.from({ length: 300 }, (_, i) =>
      instances[i % 3]?.commit(many, [
        { op: 'increment', field: 'n', by: 1 },
        { op: 'append', field: 'list', item: `${i}` },
      ]),
    ),
  );
  const record = await instances[0]?.read(many);
  expect(record?.fields.get('n')).toBe('300');
  expect(new Set(JSON.parse(record?.fields.get('list') ?? '[]')).size).toBe(300);
});

describe('a key', () => {
  const bytes = randomBytes(32);
  it.each(['base64', 'base64url', 'hex'] as const)('is 32 bytes as %s', async (form) => {
    const inner = new MemoryStorage();
    await new EncryptedStorage(inner, { key: bytes.toString('base64') }).commit(key(), [set('a', 1)]);
    const storage = new EncryptedStorage(inner, { key: bytes.toString(form) });
    expect((await storage.read(key()))?.fields.get('a')).toBe('1');
  });

  it.each(['', 'correct horse battery staple', 'x'.repeat(44), bytes.subarray(1).toString('hex'), 7 as never])(
    'is not %j, and no message repeats that',
    (text) => {
      const make = () => new EncryptedStorage(new MemoryStorage(), { key: KEY, previous: [text] });
      expect(make).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
      if (String(text).length > 3) expect(make).not.toThrow(String(text));
      expect(make).toThrow('encryption.previous[0]');
    },
  );
});

it('a begin that cannot open what it found keeps no lease', async () => {
  const inner = new MemoryStorage();
  await encrypted(inner).commit(key(), [set('a', 1)]);
  const blind = encrypted(inner, { key: newKey() });
  await expect(blind.begin(key(), { token: 'blind', leaseMs: 60_000 })).rejects.toThrow(code('KEY_MISSING'));
  expect(await encrypted(inner).begin(key(), { token: 'seeing', leaseMs: 60_000 })).toMatchObject({ busy: false });
});

it('a reply that was moved to another message does not open', async () => {
  const inner = new MemoryStorage();
  await encrypted(inner).commit(key(), [], { idempotency: { key: 'first', reply: '"mine"', keep: 5 } });
  const reply = (await inner.read(key(), { idempotencyKey: 'first' }))?.reply ?? '';
  await inner.commit(key(), [], { idempotency: { key: 'second', reply, keep: 5 } });
  expect((await encrypted(inner).read(key(), { idempotencyKey: 'first' }))?.reply).toBe('"mine"');
  await expect(encrypted(inner).read(key(), { idempotencyKey: 'second' })).rejects.toThrow(code('DECRYPTION_FAILED'));
});
