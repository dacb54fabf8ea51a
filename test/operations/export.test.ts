import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { exportRecords, importRecords, storageStats } from '../../src/operations/index.js';
import { linesOf } from '../../src/operations/ndjson-lines.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { openStorage } from '../../src/storage/open-storage.js';
import type { StateStorage } from '../../src/storage/state-storage.js';
import { RecordingStorage } from '../support/recording-storage.js';
import { caches, conversations, digestOf } from './records.js';

const root = mkdtempSync(join(tmpdir(), 'agentup-export-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

async function textOf(storage: StateStorage): Promise<string> {
  let text = '';
  for await (const line of exportRecords(storage)) text += line;
  return text;
}

/** In pieces that respect neither lines nor characters. */
async function* pieces(text: string, size = 997): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function filled(): Promise<StateStorage> {
  const storage = await conversations(40, Date.now() - 60_000);
  await caches(storage);
  return storage;
}

describe('an export', () => {
  it('imported elsewhere is the same, and imported again changes nothing', async () => {
    const source = await filled();
    const all = await digestOf(source);
    const text = await textOf(source);
    const target = await openStorage({ backend: 'file', storageDir: join(root, 'same') });
    const counts: number[] = [];
    const report = await importRecords(pieces(text), target, { onRecord: (count) => counts.push(count) });
    expect(report).toEqual({
      records: all.records,
      written: all.records,
      kept: 0,
      expired: 0,
      damaged: 0,
      replies: true,
    });
    expect(counts.at(-1)).toBe(all.records);
    expect(await digestOf(target)).toEqual(all);
    expect(await importRecords(pieces(text), target)).toMatchObject({ written: 0, kept: all.records });
    await new ConversationContext(target).setVariable('ada', 'newer', 1);
    await importRecords(pieces(text), target);
    expect(await new ConversationContext(target).getVariable('ada', 'newer')).toBe(1);
    // And as text it is the same again, but for its first line.
    const other = new MemoryStorage();
    await importRecords(pieces(text, 1 << 20), other);
    expect((await textOf(other)).split('\n').slice(1)).toEqual(text.split('\n').slice(1));
    await target.close();
  });

  it('says what it is on its first line, and that it is whole on its last', async () => {
    const lines = (await textOf(await conversations(2, Date.now())))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines[0]).toMatchObject({ export: { version: 1, backend: 'memory' } });
    expect(lines.at(-1)).toMatchObject({ done: { records: 2 } });
  });

  it.each([
    ['a line is missing', (lines: string[]) => lines.filter((_, i) => i !== 2), /damaged|expected/],
    [
      'a message was changed',
      (lines: string[]) => lines.map((line) => line.replace('message 4', 'message X')),
      /damaged/,
    ],
    [
      'a variable was changed',
      (lines: string[]) => lines.map((line) => line.replace('"n":-0.5', '"n":-0.6')),
      /damaged/,
    ],
    ['it was cut off', (lines: string[]) => lines.slice(0, -1), /ends here/],
    ['it was cut off in a record', (lines: string[]) => lines.slice(0, -2), /ends here/],
    ['a record was taken out', (lines: string[]) => [...lines.slice(0, 1), ...lines.slice(4)], /were exported/],
    ['it is something else', () => ['{"a":1}'], /not an export/],
    ['it is no JSON', () => ['hello'], /no JSON/],
    ['it is of another version', () => ['{"export":{"version":2}}'], /version 2/],
  ])('is refused with the line where %s', async (_what, damage, message) => {
    const storage = new MemoryStorage();
    const context = new ConversationContext(storage);
    for (const id of ['a', 'b']) {
      for (let i = 0; i < 6; i++) await context.addToHistory(id, 'user', `message ${i}`);
      await context.setVariable(id, 'x', { n: -0.5 });
    }
    const lines = damage((await textOf(storage)).trimEnd().split('\n'));
    const target = new MemoryStorage();
    const error = await importRecords(pieces(lines.join('\n')), target).catch((reason) => reason);
    expect(error).toMatchObject({ code: 'EXPORT_INVALID', details: { line: expect.any(Number) } });
    expect(error.message).toMatch(message);
    expect(error.details.fix).toMatch(
      error.details.line === 1 ? /nothing has been imported$/ : /what is above this line has been imported/,
    );
    // Nothing half done is left.
    for await (const { updatedAt } of target.list({ space: 'contexts' })) expect(updatedAt).toBeGreaterThan(0);
    for await (const { key } of target.list({ space: 'contexts' })) {
      expect((await target.readLog(key)).entries).toHaveLength(6);
    }
  });

  it('leaves no half of a long record behind when it is damaged later on', async () => {
    const storage = new MemoryStorage();
    for (let i = 0; i < 2_100; i++) await new ConversationContext(storage).addToHistory('long', 'user', `message ${i}`);
    const text = (await textOf(storage)).replace('message 2050', 'message x');
    const target = new MemoryStorage();
    await expect(importRecords(pieces(text), target)).rejects.toMatchObject({ code: 'EXPORT_INVALID' });
    expect((await digestOf(target)).records).toBe(0);
  });

  it('holds a record as it was at one moment, also where it is written to meanwhile', async () => {
    const storage = new MemoryStorage();
    const context = new ConversationContext(storage);
    for (let i = 0; i < 2_500; i++) await context.addToHistory('long', 'user', `message ${i}`);
    let text = '';
    let written = false;
    for await (const line of exportRecords(storage)) {
      text += line;
      if (written || !line.startsWith('{"log"')) continue;
      written = true;
      await context.clearHistory('long');
      for (let i = 0; i < 1_200; i++) await context.addToHistory('long', 'user', `again ${i}`);
    }
    expect(text).toContain('{"again":true}');
    const target = new MemoryStorage();
    expect(await importRecords(pieces(text), target)).toMatchObject({ records: 1, written: 1 });
    expect(await digestOf(target)).toEqual(await digestOf(storage));
  });

  it('reads a log page by page, never all of it', async () => {
    const storage = new MemoryStorage();
    for (let i = 0; i < 3_500; i++) await new ConversationContext(storage).addToHistory('long', 'user', `${i}`);
    const recording = new RecordingStorage(storage);
    await textOf(recording);
    const limits = recording.calls
      .filter(({ name }) => name === 'readLog')
      .map(({ args }) => (args[1] as { limit: number }).limit);
    expect(limits).toEqual([1000, 1000, 500]);
    expect(recording.calls.filter(({ name }) => name === 'read')[0]?.args[1]).toEqual({ log: 1000, replies: true });
  });

  it('leaves out what has expired since', async () => {
    const text = await textOf(await conversations(20, Date.now() - 60_000));
    const clock = { now: () => Date.now() + 7_200_000 };
    const target = new MemoryStorage({ clock });
    const report = await importRecords(pieces(text), target, { clock });
    expect(report.expired).toBeGreaterThan(0);
    expect(report.written).toBe(20 - report.expired);
    expect((await digestOf(target)).records).toBe(report.written);
  });

  it('can be checked without writing', async () => {
    const target = new MemoryStorage();
    const text = await textOf(await filled());
    expect(await importRecords(pieces(text), target, { dryRun: true })).toMatchObject({ kept: 0 });
    expect(await target.spaces()).toEqual([]);
  });
});

it('lines end at line feeds and nowhere else', async () => {
  const found: string[] = [];
  for await (const line of linesOf(pieces('a\u2028b\r\n\nü🐑\nlast', 3))) found.push(line);
  expect(found).toEqual(['a\u2028b\r', '', 'ü🐑', 'last']);
});

it('stats count and weigh what is there, by space and by owner', async () => {
  const storage = await conversations(41, 1_800_000_000_000);
  await caches(storage);
  const { all, bySpace, byOwner } = await storageStats(storage, { owned: (space) => !space.startsWith('cache-') });
  const { records } = await digestOf(storage);
  expect(all.records).toBe(records);
  expect([...bySpace.values()].reduce((sum, tally) => sum + tally.bytes, 0)).toBe(all.bytes);
  expect(bySpace.get('contexts')?.records).toBe(21);
  expect(bySpace.get('contexts')?.oldest).toBe(1_800_000_000_007);
  expect([...byOwner.keys()].every((owner) => owner.startsWith('user '))).toBe(true);
  expect(byOwner.get('user 0')?.records).toBe(1);
  const one = await storageStats(storage, { spaces: ['users'] });
  expect([...one.bySpace.keys()]).toEqual(['users']);
});
