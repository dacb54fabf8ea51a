import { randomBytes } from 'node:crypto';
import { afterAll, describe, it } from 'vitest';
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
  const keyPrefix = `conformance:${randomBytes(6).toString('hex')}:`;
  const open = async () => new ValkeyStorage({ url: valkeyUrl(), keyPrefix });
  storageConformance({ name: 'ValkeyStorage', open, reopen: open }, runner);
}
