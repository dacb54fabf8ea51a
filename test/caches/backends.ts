import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe } from 'vitest';
import { type Caches, type CachesOptions, createCaches } from '../../src/caches/index.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';
import type { StateStorage } from '../../src/storage/state-storage.js';
import { valkeyUrl } from '../support/index.js';
import { TestClock } from '../support/test-clock.js';

/** What a test of the caches works with: one backend, and tenants that no other test knows. */
export interface CacheBench {
  readonly backend: 'memory' | 'file' | 'valkey';
  readonly storage: () => StateStorage;
  /** How another process opens the same store; `undefined` where none can. */
  readonly options: () => StorageOptions | undefined;
  /** Caches of a tenant of its own, where none is named. */
  caches(scope?: Partial<Omit<CachesOptions, 'storage'>>): Caches;
  /** Lets time pass: moves the clock, or waits where it is the server's. */
  pass(ms: number): Promise<void>;
  now(): number;
  /** What moves time; `undefined` where it is the server's. */
  readonly clock: TestClock | undefined;
}

let tenants = 0;

const ALL = ['memory', 'file', 'valkey'] as const;

interface Choice {
  readonly backends?: readonly CacheBench['backend'][];
  /** Tests that touch nothing but caches of their own wait for time together, where it is the server's. */
  readonly sideBySide?: boolean;
}

/** Runs the tests on each backend. */
export function onEachBackend(
  name: string,
  body: (bench: CacheBench) => void,
  { backends = ALL, sideBySide = false }: Choice = {},
): void {
  const testsOn = (backend: CacheBench['backend']): void => {
    const clock = new TestClock();
    const storageDir = mkdtempSync(join(tmpdir(), 'agentup-caches-'));
    const keyPrefix = `caches-${randomBytes(5).toString('hex')}:`;
    const real = backend === 'valkey';
    const given = (): StorageOptions => {
      if (backend === 'memory') return { backend };
      return backend === 'file' ? { backend, storageDir } : { backend, url: valkeyUrl(), keyPrefix };
    };
    let opening: StateStorage | undefined;
    body({
      backend,
      storage: () => {
        if (!opening) throw new Error('not open');
        return opening;
      },
      options: () => (backend === 'memory' ? undefined : given()),
      caches: (scope = {}) => {
        if (!opening) throw new Error('not open');
        const common = real ? {} : { clock };
        return createCaches({ ...common, storage: opening, tenantId: `tenant ${++tenants}`, userId: 'ann', ...scope });
      },
      pass: async (ms) => {
        if (real) await delay(ms);
        else clock.advance(ms);
      },
      clock: real ? undefined : clock,
      now: () => (real ? Date.now() : clock.now()),
    });
    beforeAll(async () => {
      opening = await openStorage(given(), real ? {} : { clock });
    });
    afterAll(async () => {
      await opening?.close();
      rmSync(storageDir, { recursive: true, force: true });
    });
  };
  for (const backend of backends) {
    const concurrent = sideBySide && backend === 'valkey';
    describe(`${name}, on ${backend}`, { concurrent }, () => testsOn(backend));
  }
}
