import { mkdtemp, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConversationContext } from '../../../src/conversation/conversation-context.js';
import { silentLogger } from '../../../src/logger.js';
import { withState } from '../../../src/skill/with-state.js';
import { FileStorage } from '../../../src/storage/file/file-storage.js';

let directory: string;
let file: string;
const reports: unknown[] = [];
const open: FileStorage[] = [];

/** The agent, as a process that has just begun would have it. */
function agent(): ConversationContext {
  const report = (...words: unknown[]) => void reports.push(words);
  const storage = new FileStorage({ storageDir: directory, logger: { ...silentLogger, warn: report, error: report } });
  open.push(storage);
  return new ConversationContext(storage, { history: { load: 500 } });
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'agentup-editing-'));
  file = join(directory, 'contexts/ada.jsonl');
  reports.length = 0;
});
afterEach(async () => {
  for (const storage of open.splice(0)) await storage.close();
  await rm(directory, { recursive: true, force: true });
});

const task = (text: string) => ({ id: 't', contextId: 'ada', text });
const say = withState(async (said, context, id) => {
  await context.addToHistory(id, 'user', said.text);
  if (said.text.startsWith('My name is ')) await context.setVariable(id, 'name', said.text.slice(11));
});
const whoAmI = withState(async (_task, context, id) => {
  const history = await context.getHistory(id);
  return {
    name: await context.getVariable(id, 'name'),
    said: history.map(({ content }) => content),
    count: history.length,
  };
});

/** What editors do to the whole of a file when they save it. */
const habits: [string, (text: string) => string][] = [
  ['saves it as it is', (text) => text],
  ['ends lines with a carriage return', (text) => text.replaceAll('\n', '\r\n')],
  ['begins with a byte order mark', (text) => `\uFEFF${text}`],
  [
    'begins with a byte order mark, and ends lines with a carriage return',
    (text) => `\uFEFF${text.replaceAll('\n', '\r\n')}`,
  ],
  ['adds a newline', (text) => `${text}\n`],
  ['adds blank lines', (text) => `${text}\r\n  \n\n`],
  ['leaves the last newline out', (text) => text.slice(0, -1)],
];
const ways: [string, (text: string) => Promise<void>][] = [
  ['in place', (text) => writeFile(file, text)],
  [
    'as a new file',
    async (text) => {
      await writeFile(`${file}~`, text);
      await rename(`${file}~`, file);
    },
  ],
];

describe.each(ways)('an editor that writes %s', (_way, save) => {
  it.each(habits)(
    'and %s: what was mended is what the agent goes by, and nothing else has changed',
    async (_, habit) => {
      const running = agent();
      await say(task('My name is Adda'), running);
      // So long that the mended line lies far before a checkpoint.
      for (let n = 0; n < 100; n++) await say(task(`${n} ${'x'.repeat(300)}`), running);
      const text = await readFile(file, 'utf8');
      expect(text).toContain('{"snap":');
      // What a person finds who looks for it.
      expect(text.split('\n').filter((line) => line.includes('"content":"7 xxx'))).toHaveLength(1);
      const mended = text
        .split('\n')
        .map((line) => (line.startsWith('{"snap":') ? line : line.replaceAll('Adda', 'Ada')));
      // As long as before, so that a newline at the end looks like a line that was added.
      await save(habit(mended.join('\n').replace('"7 xxx', '"seven x')));
      // No hand is faster than this.
      await utimes(file, new Date(), new Date(Date.now() + 500));
      for (const context of [running, agent()]) {
        const { name, said, count } = await whoAmI(task('?'), context);
        expect({ name, count }).toEqual({ name: 'Ada', count: 101 });
        expect(said[0]).toBe('My name is Ada');
        expect(said[8]).toMatch(/^seven x/);
      }
      await say(task('and on'), running);
      for (const context of [running, agent()]) {
        expect(await whoAmI(task('?'), context)).toMatchObject({ name: 'Ada', count: 102 });
      }
      expect(reports).toEqual([]);
    },
  );
});

it('a list says what was mended, also where no byte more or less stands there', async () => {
  const [writer, reader] = [0, 1].map(() => new FileStorage({ storageDir: directory })) as [FileStorage, FileStorage];
  open.push(writer, reader);
  const owners = async () => {
    const found = [];
    for await (const { owner } of reader.list({ space: 'contexts' })) found.push(owner);
    return found;
  };
  await writer.commit({ space: 'contexts', scope: [], id: 'ada' }, [{ op: 'owner', owner: 'ann' }]);
  expect(await owners()).toEqual(['ann']);
  await writeFile(file, (await readFile(file, 'utf8')).replaceAll('"ann"', '"ben"'));
  expect(await owners()).toEqual(['ben']);
});

it('a slip of the hand is reported with its line, and the rest counts', async () => {
  const running = agent();
  await say(task('My name is Ada'), running);
  await say(task('hello'), running);
  await writeFile(file, `${await readFile(file, 'utf8')}[{"at":"2026-01-02T00:00:00Z"},{"sett":{"var:name":"Eva"}}]\n`);
  expect(await whoAmI(task('?'), running)).toMatchObject({ name: 'Ada', count: 2 });
  expect(String(reports[0])).toContain('lines 4 of');
});
