import { MemoryStorage } from 'agentup';
import { type Caches, createCaches } from 'agentup/caches';

/** Steps that must come in their order, each once, however many workers try. */
const STEPS = ['collect', 'verify', 'approve', 'pay'] as const;
type Step = (typeof STEPS)[number];

async function advance({ tableCache }: Caches, id: string, to: Step): Promise<string> {
  const from = STEPS[STEPS.indexOf(to) - 1];
  const row = { step: to };
  const { status } = from
    ? await tableCache.replaceIf('workflows', id, row, { step: from })
    : await tableCache.createIfAbsent('workflows', id, row);
  return `${to}: ${status}`;
}

/** An expensive call, done once for all who want it at the same time, and kept for an hour. */
let calls = 0;
async function rate({ tableCache }: Caches, currency: string): Promise<unknown> {
  const rates = tableCache.table('rates', undefined, { ttl: 3600 });
  return rates.getOrLoad(currency, async () => ({ rate: 1.1, calls: ++calls }));
}

const caches = createCaches({ storage: new MemoryStorage(), tenantId: 'bank', userId: 'clerk' });
console.log(await advance(caches, 'loan 1', 'verify')); // verify: missing
console.log(await advance(caches, 'loan 1', 'collect')); // collect: created
console.log(await advance(caches, 'loan 1', 'approve')); // approve: condition_not_met
console.log(await Promise.all([1, 2].map(() => advance(caches, 'loan 1', 'verify'))));
console.log(await Promise.all([1, 2, 3].map(() => rate(caches, 'EUR'))), calls);
