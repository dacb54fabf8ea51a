import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { EncryptedStorage } from '../../src/storage/encryption/index.js';
import { FileStorage } from '../../src/storage/file/file-storage.js';
import { ForwardingStorage } from '../../src/storage/forwarding-storage.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { ValkeyStorage } from '../../src/storage/valkey/valkey-storage.js';
import { valkeyUrl } from '../support/index.js';
import { TestClock } from '../support/test-clock.js';
import { anySettings, type ConversationAbility, conversationSteps } from './arbitraries.js';
import { ConversationPair, type ConversationSubject } from './conversation-pair.js';

/** How often each property is tried; for a long search set AGENTUP_PROPERTY_RUNS=10000. */
const RUNS = Number(process.env['AGENTUP_PROPERTY_RUNS'] ?? 12);
const TIME_LIMIT = Math.max(120_000, RUNS * 1_000);

async function behaveLikeTheModel(
  able: Omit<ConversationAbility, 'instances'>,
  subject: () => Omit<ConversationSubject, 'instances'>,
  runs: number,
) {
  const instances = 2;
  const sequence = anySettings({ ...able, instances }).chain((settings) =>
    fc.tuple(fc.constant(settings), conversationSteps({ ...able, instances }, settings)),
  );
  await fc.assert(
    fc.asyncProperty(sequence, ([settings, steps]) =>
      new ConversationPair({ ...subject(), instances }, settings).run(steps),
    ),
    { numRuns: runs },
  );
}

describe('conversations of two instances have the answers of a plain model', { timeout: TIME_LIMIT }, () => {
  const inFiles = async (run: (storageDir: string) => Promise<void>) => {
    const storageDir = mkdtempSync(join(tmpdir(), 'agentup-properties-'));
    await run(storageDir).finally(() => rmSync(storageDir, { recursive: true }));
  };

  it('in memory', async () => {
    const subject = () => {
      const clock = new TestClock();
      const storage = new MemoryStorage({ clock });
      // Not one queue for both: each instance has a storage of its own.
      return { clock, open: () => new ForwardingStorage(storage) };
    };
    await behaveLikeTheModel({ movesTime: true, reopens: false }, subject, RUNS * 5);
  });

  it('on files', () =>
    inFiles(async (storageDir) => {
      const clock = new TestClock();
      const open = () => new FileStorage({ storageDir, clock, durability: 'never' });
      await behaveLikeTheModel({ movesTime: true, reopens: true }, () => ({ clock, open }), RUNS);
    }));

  it('on encrypted files', () =>
    inFiles(async (storageDir) => {
      const clock = new TestClock();
      const key = randomBytes(32).toString('base64');
      const files = () => new FileStorage({ storageDir, clock, durability: 'never' });
      const open = () => new EncryptedStorage(files(), { key });
      await behaveLikeTheModel({ movesTime: true, reopens: true }, () => ({ clock, open }), RUNS);
    }));

  it('on Valkey', async () => {
    const keyPrefix = `properties:${randomBytes(6).toString('hex')}:`;
    const open = () => new ValkeyStorage({ url: valkeyUrl(), keyPrefix });
    await behaveLikeTheModel({ movesTime: false, reopens: true }, () => ({ open }), RUNS);
  });
});
