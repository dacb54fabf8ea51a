import { afterAll, describe, it } from 'vitest';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { storageConformance } from '../../src/testing/index.js';
import { TestClock } from '../support/test-clock.js';

const runner = { describe, it, afterAll };

{
  const clock = new TestClock();
  storageConformance(
    {
      name: 'MemoryStorage',
      open: async () => new MemoryStorage({ clock }),
      advance: async (ms) => clock.advance(ms),
    },
    runner,
  );
}
