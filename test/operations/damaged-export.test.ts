import { describe, expect, it } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { exportRecords, importRecords } from '../../src/operations/index.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { TestClock } from '../support/test-clock.js';

const HEADER = '{"export":{"version":1,"at":"2026-01-01T00:00:00.000Z","backend":"memory"}}\n';
const MOMENT = '2026-01-01T00:00:00.000Z';
const KEY = { space: 'contexts', scope: [], id: 'a' };
const record = (other: object = {}) =>
  `${JSON.stringify({ record: { ...KEY, created: MOMENT, updated: MOMENT, fields: {}, ...other } })}\n`;
/** Two pages, so that the first of them is written before the end is seen. */
const LOGS = '{"log":[1]}\n{"log":[2]}\n';
const WRONG = '{"end":{"sha256":"0"}}\n';

async function* whole(text: string): AsyncGenerator<string> {
  yield text;
}

describe('an export that somebody has made up is refused with the line, and leaves nothing behind', () => {
  it.each([
    ['nothing', ''],
    ['a list', '[]\n'],
    ['a header that is null', '{"export":null}\n'],
    ['a header that is a text', '{"export":"1"}\n'],
    ['a byte order mark', `\ufeff${HEADER}`],
    ['a record that is null', `${HEADER}{"record":null}\n`],
    ['an end that is null', `${HEADER}${record()}{"end":null}\n`],
    ['a last line that is null', `${HEADER}{"done":null}\n`],
    ['a log that is null', `${HEADER}${record()}{"log":null}\n`],
    ['a log that nobody could read', `${HEADER}${record()}${LOGS}{"log":["\\u0001enc1.abc"]}\n`],
    ['a life that is none', `${HEADER}${record({ ttl: 0 })}${LOGS}${WRONG}`],
    ['an owner that is a number', `${HEADER}${record({ owner: 5 })}${LOGS}${WRONG}`],
    ['a scope that is a text', `${HEADER}${record({ scope: 'ab' })}${LOGS}${WRONG}`],
    ['a scope that only looks like a list', `${HEADER}${record({ scope: { 0: 'a', length: 1 } })}${LOGS}${WRONG}`],
    ['a space that is a path', `${HEADER}${record({ space: '../x' })}${LOGS}${WRONG}`],
    ['a log that begins nowhere', `${HEADER}${record({ dropped: -1 })}${LOGS}${WRONG}`],
    ['a field without a name', `${HEADER}${record({ fields: { '': 1 } })}${LOGS}${WRONG}`],
    ['a time before all times', `${HEADER}${record({ created: '1960-01-01T00:00:00.000Z' })}${LOGS}${WRONG}`],
    ['a value as deep as a well', `${HEADER}${record().replace('{}', `{"a":${'['.repeat(5e3)}${']'.repeat(5e3)}}`)}`],
    ['a digest of something else', `${HEADER}${record()}${LOGS}${WRONG}`],
    ['something after the end', `${HEADER}{"done":{"records":0,"sha256":"${'0'.repeat(64)}"}}\n${record()}`],
  ])('%s', async (_what, text) => {
    const target = new MemoryStorage();
    const refused = { code: 'EXPORT_INVALID', details: { line: expect.any(Number) } };
    await expect(importRecords(whole(text), target, { dryRun: true })).rejects.toMatchObject(refused);
    await expect(importRecords(whole(text), target)).rejects.toMatchObject(refused);
    expect(await target.read(KEY)).toBeUndefined();
  });
});

it('an older record is not lost to a damaged export, however long the one that was to replace it', async () => {
  const clock = new TestClock();
  const [source, target] = [new MemoryStorage({ clock }), new MemoryStorage({ clock })];
  const mine = new ConversationContext(target, { clock });
  await mine.setVariable('long', 'mine', 1);
  clock.advance(1_000);
  for (let i = 0; i < 2_100; i++)
    await new ConversationContext(source, { clock }).addToHistory('long', 'user', `m ${i}`);
  let text = '';
  for await (const line of exportRecords(source)) text += line;
  await expect(importRecords(whole(text.replace('m 2050', 'm x')), target, { clock })).rejects.toMatchObject({
    code: 'EXPORT_INVALID',
  });
  expect(await mine.getVariable('long', 'mine')).toBe(1);
  expect(await importRecords(whole(text), target, { clock })).toMatchObject({ written: 1 });
  expect(await mine.getVariables('long')).toEqual({});
  expect(await mine.getHistory('long', { limit: 3_000 })).toHaveLength(2_100);
});
