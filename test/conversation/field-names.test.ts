import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { type AgentUpError, isAgentUpError } from '../../src/errors.js';
import { withState } from '../../src/skill/with-state.js';
import { FileStorage } from '../../src/storage/file/file-storage.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { ValkeyStorage } from '../../src/storage/valkey/valkey-storage.js';
import { valkeyUrl } from '../support/index.js';

const directory = await mkdtemp(join(tmpdir(), 'agentup-names-'));
const storages = [
  new MemoryStorage(),
  new FileStorage({ storageDir: directory }),
  new ValkeyStorage({ url: valkeyUrl(), keyPrefix: `names-${process.pid}:` }),
];

afterAll(async () => {
  for (const storage of storages) await storage.close();
  await rm(directory, { recursive: true });
});

async function refused(work: Promise<unknown>): Promise<AgentUpError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!isAgentUpError(error)) throw new Error('nothing was refused', { cause: error });
  return error;
}

type Mistake = readonly [string, message: RegExp, (context: ConversationContext, id: string) => Promise<unknown>];

const MISTAKES: readonly Mistake[] = [
  ['WRONG_TYPE', /^the variable "x" does not hold an integer$/, (context, id) => context.incrementVariable(id, 'x')],
  ['WRONG_TYPE', /^the variable "x" does not hold a list$/, (context, id) => context.appendToVariable(id, 'x', 1)],
  [
    'INTEGER_OVERFLOW',
    /^the variable "big" would leave/,
    async (context, id) => {
      await context.setVariable(id, 'big', Number.MAX_SAFE_INTEGER);
      await context.incrementVariable(id, 'big');
    },
  ],
  [
    'VALUE_NOT_JSON',
    /^the metadata entry "m" is an instance of Date/,
    (context, id) => context.setMetadata(id, 'm', new Date()),
  ],
  [
    'VALUE_NOT_JSON',
    /^the variable "v": \$\.at is an instance of Date/,
    (context, id) => context.setVariable(id, 'v', { at: new Date() }),
  ],
  [
    'VALUE_NOT_JSON',
    /^the content of the message is undefined/,
    (context, id) => context.addToHistory(id, 'user', undefined as never),
  ],
  [
    'SCHEMA_INVALID',
    /^the variable "x" does not fit/,
    (context, id) => context.getVariable(id, 'x', { schema: z.number() }),
  ],
  ['LIMIT_EXCEEDED', /^the variable "y" exceeds/, (context, id) => context.setVariable(id, 'y', 'a'.repeat(100))],
];

describe.each(storages.map((storage) => [storage.backend, storage] as const))('an error on %s', (_, storage) => {
  const context = new ConversationContext(storage, { limits: { valueBytes: 50 } });

  it.each(MISTAKES)('%s names the variable as its user does: %s', async (code, message, mistake) => {
    await context.setVariable('c', 'x', 'text');
    const inTurn = withState(async (_task, inside, id) => mistake(inside, id));
    for (const attempt of [() => mistake(context, 'c'), () => inTurn({ id: 't', contextId: 'c', text: '' }, context)]) {
      const error = await refused(attempt());
      expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
      expect(JSON.stringify(error.details)).not.toMatch(/var:|meta:/);
    }
  });

  it('does so when the commit finds what others wrote meanwhile', async () => {
    const count = withState(async (_task, inside, id) => {
      await inside.incrementVariable(id, 'n');
      await storage.commit(context.keyOf(id), [{ op: 'set', field: 'var:n', value: '"text"' }], {});
    });
    const error = await refused(count({ id: 't', contextId: 'd', text: '' }, context));
    expect(error).toMatchObject({ message: 'the variable "n" does not hold an integer', details: { field: 'n' } });
  });
});
