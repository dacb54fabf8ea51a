import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runWorker } from '../support/workers.js';
import { onEachBackend } from './backends.js';

const WORKER = join(import.meta.dirname, 'processes.worker.ts');
const COUNT = 200;

onEachBackend(
  'four processes on one table',
  ({ caches, options }) => {
    it('lose no increment, no item, no field, and make each row once', async () => {
      const tenantId = `tenant ${Math.random()}`;
      const { tableCache } = caches({ tenantId });
      const printed = await Promise.all(
        [0, 1, 2, 3].map((worker) => runWorker(WORKER, { options: options(), tenantId, worker, count: COUNT })),
      );
      const row = (await tableCache.get('shared', 'row')) as { n: number; list: string[] } & Record<string, unknown>;
      expect(row.n).toBe(4 * COUNT);
      expect(new Set(row.list).size).toBe(4 * COUNT);
      for (let worker = 0; worker < 4; worker++) expect(row[`last${worker}`]).toBe(COUNT - 1);
      const results = printed.map(
        (lines) => JSON.parse(lines[0] ?? '{}') as { created: number; taken: number; lost: number },
      );
      expect(results.reduce((sum, { created }) => sum + created, 0)).toBe(COUNT);
      expect(results.reduce((sum, { taken }) => sum + taken, 0)).toBe(COUNT);
      // Whoever was refused was told of the row that is there.
      expect(results.every(({ lost }) => lost === 0)).toBe(true);
      const rows = await tableCache.getAll('jobs');
      expect(rows).toHaveLength(COUNT);
      expect(rows.every(({ row: job }) => (job as { status: string }).status === 'taken')).toBe(true);
    });
  },
  { backends: ['file', 'valkey'] },
);
