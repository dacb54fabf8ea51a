import { expect, it } from 'vitest';
import { runWorker } from '../support/workers.js';
import { onEachBackend } from './backends.js';

interface Seen {
  readonly offset: number;
  readonly seen: readonly { readonly row: unknown; readonly expiresAt: number | null }[];
}

async function inZone(TZ: string, args: object): Promise<Seen> {
  const [line = ''] = await runWorker('test/caches/time-zones.worker.ts', args, { TZ });
  return JSON.parse(line) as Seen;
}

const row = { n: 1 };

onEachBackend('a row written in one time zone', ({ backend, options }) => {
  it('expires in another at the same instant', async () => {
    const now = Date.UTC(2026, 5, 1, 12);
    const common = { options: options() ?? { backend: 'memory' }, tenantId: `zones ${process.pid}`, now };
    if (backend === 'memory') {
      // Nobody else can read it; that the zone shifts nothing can be seen all the same.
      const { offset, seen } = await inZone('Pacific/Kiritimati', { ...common, ttl: 600, later: [599_999, 1] });
      expect(offset).toBe(-14 * 60);
      expect(seen.map((look) => look.row)).toEqual([row, row, null]);
      expect(seen[0]?.expiresAt).toBe(now + 600_000);
      return;
    }
    const written = await inZone('Pacific/Kiritimati', { ...common, ttl: 600 });
    const read = await inZone('Pacific/Pago_Pago', common);
    expect([written.offset, read.offset]).toEqual([-14 * 60, 11 * 60]);
    expect(read.seen).toEqual(written.seen);
    expect(read.seen[0]?.row).toEqual(row);
    const expiresAt = read.seen[0]?.expiresAt ?? 0;
    if (backend === 'valkey') return expect(Math.abs(expiresAt - Date.now() - 600_000)).toBeLessThan(60_000);
    expect(expiresAt).toBe(now + 600_000);
    const late = await inZone('Pacific/Pago_Pago', { ...common, now: now + 599_999, later: [1] });
    expect(late.seen.map((look) => look.row)).toEqual([row, null]);
  });
});

onEachBackend(
  'a row written before clocks are changed',
  ({ options }) => {
    it.each([
      ['put forward', Date.UTC(2026, 2, 29, 0, 30), -60, -120],
      ['put back', Date.UTC(2026, 9, 25, 0, 30), -120, -60],
    ])('expires at the same instant when they are %s', async (how, now, before, after) => {
      const common = { options: options() ?? { backend: 'memory' }, tenantId: how, now };
      const { offset, seen } = await inZone('Europe/Berlin', { ...common, ttl: 7200, later: [7_199_999, 1] });
      expect(offset).toBe(before);
      expect((await inZone('Europe/Berlin', { ...common, now: now + 7_200_000 })).offset).toBe(after);
      expect(seen.map((look) => look.row)).toEqual([row, row, null]);
    });
  },
  // Valkey's clock is its server's.
  { backends: ['memory', 'file'] },
);
