import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'iovalkey';
import { afterAll, describe, it } from 'vitest';
import { FileStorage } from '../../src/storage/file/file-storage.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { ValkeyStorage } from '../../src/storage/valkey/valkey-storage.js';
import { storageConformance } from '../../src/testing/index.js';
import { valkeyUrl } from '../support/index.js';
import { TestClock } from '../support/test-clock.js';

const runner = { describe, it, afterAll };

{
  const clock = new TestClock();
  const open = async () => new MemoryStorage({ clock });
  storageConformance({ name: 'MemoryStorage', open, advance: async (ms) => clock.advance(ms) }, runner);
}

{
  const clock = new TestClock();
  const storageDir = mkdtempSync(join(tmpdir(), 'agentup-conformance-'));
  const open = async () => new FileStorage({ storageDir, clock });
  const advance = async (ms: number) => clock.advance(ms);
  const cleanup = async () => rmSync(storageDir, { recursive: true });
  storageConformance({ name: 'FileStorage', open, reopen: open, advance, cleanup }, runner);
}

{
  const keyPrefix = `conformance:${randomBytes(6).toString('hex')}:`;
  const open = async () => new ValkeyStorage({ url: valkeyUrl(), keyPrefix });
  const cleanup = async () => {
    const client = new Redis(valkeyUrl());
    const keys = await client.keys(`${keyPrefix}*`);
    if (keys.length > 0) await client.unlink(...keys);
    await client.quit();
  };
  storageConformance({ name: 'ValkeyStorage', open, reopen: open, cleanup }, runner);
}
