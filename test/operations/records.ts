import { createCaches } from '../../src/caches/index.js';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { DigestSum, measure } from '../../src/operations/whole-record.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { StateStorage } from '../../src/storage/state-storage.js';
import { TestClock } from '../support/test-clock.js';

const NAMES = ['ada', 'Ada/..', 'ñandú 🐑', 'a:b*?[x]\\{}', '%41', 'CON', 'x'.repeat(300), '\0', '+51 999'];

/** The same for the same arguments, in a storage of this process: some long, some capped, some with a life or replies. */
export async function conversations(count: number, startedAt: number): Promise<MemoryStorage> {
  const clock = new TestClock(startedAt);
  const storage = new MemoryStorage({ clock });
  const contexts = [
    new ConversationContext(storage, { clock, ttl: 7_200 }),
    new ConversationContext(storage, { clock, scope: { tenantId: 'hotel/1' }, history: { max: 5 } }),
    new ConversationContext(storage, { clock, scope: { kind: 'session', tenantId: 't', userId: 'u:1' } }),
    new ConversationContext(storage, { clock, scope: { kind: 'user' } }),
  ];
  for (let i = 0; i < count; i++) {
    clock.advance(7);
    const context = contexts[i % contexts.length] as ConversationContext;
    const id = i < NAMES.length ? (NAMES[i] ?? '') : `conversation ${i}`;
    if (i % 4 !== 2) await context.getOrCreate(id, { userId: `user ${i % 50}` });
    await context.setVariable(id, 'profile', {
      name: `ñ ${i}`,
      tags: ['1', 'null', '-0'],
      n: -0.5,
      deep: { __proto_: [i] },
    });
    await context.setVariable(id, '__proto__', { u2028: '\u2028\u2029', lone: '\ud800' });
    await context.setMetadata(id, 'channel', i % 2 === 0 ? 'web' : 'phone');
    const messages = i === 1 || i === 4 ? 2_500 : i % 10;
    for (let n = 0; n < messages; n++)
      await context.addToHistory(id, n % 2 ? 'assistant' : 'user', `message ${n}\n"ü"`);
    for (let n = 0; n < i % 4; n++) {
      const idempotency = { key: `"message" ${n}`, reply: `{"kind":"value","value":"ü ${i}"}`, keep: 2 };
      await storage.commit(context.keyOf(id), [], { idempotency });
    }
    if (i % 9 === 0) await context.setTtl(id, 'none');
    if (i % 9 === 1) await context.setTtl(id, 86_400);
  }
  return storage;
}

/** What else a storage holds: rows, flows, profiles, due entries. */
export async function caches(storage: StateStorage): Promise<void> {
  const { stateCache, userCache, tableCache, expiry } = createCaches({ storage, tenantId: 'shop', userId: 'ann' });
  await stateCache.set('pizza_order', { step: 'size' }, { ttl: 1800 });
  await userCache.set({ phone: '0123', messages: 7 });
  const products = tableCache.table('products', undefined, { indexes: ['category'], versioned: true });
  for (let i = 0; i < 20; i++) await products.set(`p ${i}`, { category: i % 2 ? 'food' : 'drinks', price: i });
  await expiry.set('remind_cart', '+51 999', { ttl: 3600, data: { items: 2 } });
}

/** Everything in a storage, as one digest, and how much there is. */
export async function digestOf(storage: StateStorage): Promise<{ records: number; digest: string }> {
  const sum = new DigestSum();
  let records = 0;
  for (const space of await storage.spaces()) {
    for await (const { key } of storage.list({ space })) {
      const measured = await measure(storage, key);
      if (!measured) continue;
      records++;
      sum.add(measured.digest);
    }
  }
  return { records, digest: sum.hex };
}
