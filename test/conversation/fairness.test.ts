import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { withState } from '../../src/skill/with-state.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';
import { valkeyUrl } from '../support/index.js';
import { startWorker } from '../support/workers.js';

const GREEDY = join(import.meta.dirname, 'greedy.worker.ts');

describe.each(['file', 'valkey'] as const)('who waits for a conversation on %s', (backend) => {
  let directory: string;
  let options: StorageOptions;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'agentup-fairness-'));
    const keyPrefix = `fairness-${randomBytes(4).toString('hex')}:`;
    options = backend === 'file' ? { backend, storageDir: directory } : { backend, url: valkeyUrl(), keyPrefix };
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('is served before long, although two other processes want nothing but the next turn', async () => {
    const workers = [0, 1].map(() => startWorker(GREEDY, { options }));
    const storage = await openStorage(options);
    const context = new ConversationContext(storage, { wait: 10 });
    const task = { id: 't', contextId: 'shared', text: '' };
    const turn = withState((_task, inside, id) => inside.getVariable(id, 'n', 0));
    try {
      for (const { lines } of workers) await lines.next();
      const counted = () => context.getVariable('shared', 'n', 0);
      let passed = 0;
      for (let n = 0; n < 6; n++) {
        // They are at it again.
        const since = await counted();
        await expect.poll(counted, { interval: 5 }).toBeGreaterThan(since);
        const before = await counted();
        passed += (await turn(task, context)) - before;
      }
      // Without the place that is kept for the first one refused it is many dozens each time, as free moments are rare.
      expect(passed).toBeLessThan(6 * 20);
    } finally {
      for (const worker of workers) {
        worker.process.kill('SIGKILL');
        await worker.ended;
      }
      await storage.close();
    }
  });
});
