import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { isAgentUpError } from '../../src/errors.js';
import { withState } from '../../src/skill/with-state.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';
import type { StateStorage } from '../../src/storage/state-storage.js';
import { valkeyUrl } from '../support/index.js';
import { runWorker, startWorker } from '../support/workers.js';

const WORKER = join(import.meta.dirname, 'turns.worker.ts');

describe.each(['file', 'valkey'] as const)('turns of several processes on %s', (backend) => {
  let directory: string;
  let storage: StateStorage;
  let context: ConversationContext;
  const fresh = (): StorageOptions =>
    backend === 'file'
      ? { backend, storageDir: join(directory, randomBytes(4).toString('hex')) }
      : { backend, url: valkeyUrl(), keyPrefix: `turns-${randomBytes(4).toString('hex')}:` };
  const open = async (options: StorageOptions) => {
    storage = await openStorage(options);
    context = new ConversationContext(storage, { lease: 2 });
  };

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'agentup-turns-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('never overlap: 4 × 50 that read, wait and write leave exactly 200', async () => {
    const options = fresh();
    await Promise.all([0, 1, 2, 3].map(() => runWorker(WORKER, { options, count: 50 })));
    await open(options);
    expect(await context.getVariable('shared', 'n')).toBe(200);
    await storage.close();
  });

  it('go on when a holder was killed: its lease ends, its changes are absent', async () => {
    const options = fresh();
    await open(options);
    await context.setVariable('shared', 'n', 7);
    const holder = startWorker(WORKER, { options, count: 1, stay: 60_000 });
    await holder.lines.next();
    holder.process.kill('SIGKILL');
    await holder.ended;
    const begin = performance.now();
    const turn = withState((_task, inside, id) => inside.incrementVariable(id, 'n'));
    expect(await turn({ id: 't', contextId: 'shared', text: '' }, context)).toBe(8);
    expect(performance.now() - begin).toBeLessThan(4_000);
    expect(await context.getHistory('shared')).toEqual([]);
    await storage.close();
  });

  it('are fenced off when they stood still past their lease: what they wanted to write is refused', async () => {
    const options = fresh();
    await open(options);
    const holder = startWorker(WORKER, { options, count: 1, stay: 300 });
    await holder.lines.next();
    holder.process.kill('SIGSTOP');
    const turn = withState((task, inside, id) => inside.setVariable(id, 'by', task.text));
    await turn({ id: 't', contextId: 'shared', text: 'second' }, context);
    holder.process.kill('SIGCONT');
    expect((await holder.lines.next()).value).toBe('LEASE_LOST');
    expect(await holder.ended).toBe(0);
    expect(await context.getVariables('shared')).toEqual({ by: 'second' });
    expect(await context.getHistory('shared')).toEqual([]);
    await storage.close();
  });

  it('are told that the conversation is busy when the wait is too long', async () => {
    const options = fresh();
    await open(options);
    const holder = startWorker(WORKER, { options, count: 1, stay: 60_000 });
    await holder.lines.next();
    const impatient = new ConversationContext(storage, { wait: 0.2 });
    const begin = performance.now();
    const refused = await withState(() => 1)({ id: 't', contextId: 'shared', text: '' }, impatient).catch((e) => e);
    expect(isAgentUpError(refused, 'CONVERSATION_BUSY')).toBe(true);
    expect(performance.now() - begin).toBeLessThan(2_000);
    // Another conversation is not.
    expect(await withState(() => 1)({ id: 't', contextId: 'another', text: '' }, impatient)).toBe(1);
    holder.process.kill('SIGKILL');
    await holder.ended;
    await storage.close();
  });

  it('keep a lease alive while the handler runs longer than it', async () => {
    const options = fresh();
    await open(options);
    const short = new ConversationContext(storage, { lease: 0.6 });
    const slow = withState(async (_task, inside, id) => {
      const n = await inside.getVariable(id, 'n', 0);
      await new Promise((resolve) => setTimeout(resolve, 1_400));
      await inside.setVariable(id, 'n', n + 1);
    });
    const second = await openStorage(options);
    const other = new ConversationContext(second, { lease: 0.6 });
    const task = { id: 't', contextId: 'shared', text: '' };
    await Promise.all([slow(task, short), slow(task, other)]);
    expect(await context.getVariable('shared', 'n')).toBe(2);
    await second.close();
    await storage.close();
  });
});
