import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'iovalkey';
import { afterAll, describe, it } from 'vitest';
import { EncryptedStorage } from '../../../src/storage/encryption/encrypted-storage.js';
import { FileStorage } from '../../../src/storage/file/file-storage.js';
import { MemoryStorage } from '../../../src/storage/memory-storage.js';
import { ValkeyStorage } from '../../../src/storage/valkey/valkey-storage.js';
import { storageConformance } from '../../../src/testing/index.js';
import { valkeyUrl } from '../../support/index.js';
import { TestClock } from '../../support/test-clock.js';

const runner = { describe, it, afterAll };
const encryption = { key: randomBytes(32).toString('base64') };

{
  const clock = new TestClock();
  const open = async () => new EncryptedStorage(new MemoryStorage({ clock }), encryption);
  storageConformance({ name: 'Encrypted MemoryStorage', open, advance: async (ms) => clock.advance(ms) }, runner);
}

{
  const clock = new TestClock();
  const storageDir = mkdtempSync(join(tmpdir(), 'agentup-encrypted-'));
  const open = async () => new EncryptedStorage(new FileStorage({ storageDir, clock }), encryption);
  const advance = async (ms: number) => clock.advance(ms);
  const cleanup = async () => rmSync(storageDir, { recursive: true });
  storageConformance({ name: 'Encrypted FileStorage', open, reopen: open, advance, cleanup }, runner);
}

{
  const keyPrefix = `conformance:${randomBytes(6).toString('hex')}:`;
  const open = async () => new EncryptedStorage(new ValkeyStorage({ url: valkeyUrl(), keyPrefix }), encryption);
  const cleanup = async () => {
    const client = new Redis(valkeyUrl());
    const keys = await client.keys(`${keyPrefix}*`);
    if (keys.length > 0) await client.unlink(...keys);
    await client.quit();
  };
  storageConformance({ name: 'Encrypted ValkeyStorage', open, reopen: open, cleanup }, runner);
}
