/**
 * A process that does turns for the benchmark, on one subject. Told what to do by its parent's messages, ended by
 * their end: see `worker-process.ts`.
 */
import { loadSubject } from '../subjects.js';
import { firstLine } from './first-line.js';
import type { Ask, Did, Job } from './worker-process.js';

const { module, name, place, id } = JSON.parse(process.argv[2] as string) as Job;
const subject = await loadSubject(module, name);
const opened = await subject.open(place);

process.on('disconnect', () => process.exit());
process.on('message', (ask: Ask) => {
  void turns(ask.turns).then((did) => process.send?.(did));
});
process.send?.('ready');

async function turns(count: number): Promise<Did> {
  const begin = performance.now();
  let failed = 0;
  let error: string | undefined;
  let visits: number | undefined;
  for (let i = 0; i < count; i++) {
    try {
      visits = await opened.turn(id);
    } catch (thrown) {
      failed++;
      const code = (thrown as { code?: unknown })?.code;
      error ??= typeof code === 'string' ? code : firstLine(thrown);
    }
  }
  return { failed, error, visits, ms: performance.now() - begin };
}
