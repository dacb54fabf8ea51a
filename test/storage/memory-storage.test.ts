import { strict as assert } from 'node:assert';
import { randomBytes } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, it } from 'vitest';
import { encode } from '../../src/json.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { RESERVATION_MS } from '../../src/storage/state-storage.js';
import { TestClock } from '../support/test-clock.js';

// What every storage must do is in the conformance suite; here is what only this one does, or did wrong once.

const key = (id: string) => ({ space: 'contexts', scope: [], id });
const TOUCH = [{ op: 'touch' }] as const;

function setUp() {
  const clock = new TestClock();
  return { clock, storage: new MemoryStorage({ clock }) };
}

describe('MemoryStorage', () => {
  it('knows its default ttl, and refuses one that is none', () => {
    assert.equal(new MemoryStorage().ttl, undefined);
    assert.equal(new MemoryStorage({ ttl: 60 }).ttl, 60);
    for (const ttl of [0, -1, 1.5, Number.NaN]) {
      assert.throws(() => new MemoryStorage({ ttl }), { code: 'TTL_INVALID' });
    }
  });

  it('shares nothing with another', async () => {
    const [a, b] = [new MemoryStorage(), new MemoryStorage()];
    await a.commit(key('x'), TOUCH);
    assert.equal(await b.read(key('x')), undefined);
  });

  it('who lost the lease does not overtake who waits', async () => {
    const { clock, storage } = setUp();
    await storage.begin(key('x'), { token: 'late', leaseMs: 100 });
    await storage.begin(key('x'), { token: 'waits', leaseMs: 1_000 });
    clock.advance(150);
    assert.equal((await storage.begin(key('x'), { token: 'late', leaseMs: 1_000 })).busy, true);
    assert.equal((await storage.begin(key('x'), { token: 'waits', leaseMs: 1_000 })).busy, false);
  });

  it('who released the lease does not overtake who waits', async () => {
    const { storage } = setUp();
    await storage.begin(key('x'), { token: 'first', leaseMs: 1_000 });
    await storage.begin(key('x'), { token: 'waits', leaseMs: 1_000 });
    await storage.commit(key('x'), [], { lease: { token: 'first' } });
    assert.equal((await storage.begin(key('x'), { token: 'first', leaseMs: 1_000 })).busy, true);
    assert.equal((await storage.begin(key('x'), { token: 'waits', leaseMs: 1_000 })).busy, false);
  });

  it('tells when to ask again: at the end of the lease, or of the place of another', async () => {
    const { clock, storage } = setUp();
    await storage.begin(key('x'), { token: 'a', leaseMs: 1_000 });
    clock.advance(400);
    assert.deepEqual(await storage.begin(key('x'), { token: 'b', leaseMs: 1 }), { busy: true, retryAfterMs: 600 });
    await storage.commit(key('x'), [], { lease: { token: 'a' } });
    clock.advance(50);
    const answer = await storage.begin(key('x'), { token: 'c', leaseMs: 1 });
    assert.deepEqual(answer, { busy: true, retryAfterMs: RESERVATION_MS - 50 });
  });

  it('lists no record that was deleted or has expired since the listing began', async () => {
    const { clock, storage } = setUp();
    for (const id of ['a', 'c', 'e']) await storage.commit(key(id), TOUCH);
    await storage.commit(key('b'), TOUCH);
    await storage.commit(key('d'), TOUCH, { expiry: { set: 1 } });
    const seen: string[] = [];
    for await (const info of storage.list({ space: 'contexts' })) {
      seen.push(info.key.id);
      if (info.key.id === 'a') {
        await storage.delete(key('b'));
        clock.advance(1_000);
      }
    }
    assert.deepEqual(seen, ['a', 'c', 'e']);
  });

  it('finds what is old also where the clock was set back, and what was written since is older than what was before', async () => {
    const { clock, storage } = setUp();
    const start = clock.now();
    await storage.commit(key('later'), TOUCH);
    clock.advance(-60_000);
    await storage.commit(key('earlier'), TOUCH);
    clock.advance(120_000);
    await storage.commit(key('last'), TOUCH);
    const old = { space: 'contexts', updatedBefore: start };
    const seen: string[] = [];
    for await (const info of storage.list(old)) seen.push(info.key.id);
    assert.deepEqual(seen, ['earlier']);
    assert.equal(await storage.sweep(old), 1);
    assert.equal(await storage.sweep({ ...old, updatedBefore: start + 1 }), 1);
  });

  it('forgets a commit id after a minute', async () => {
    const { clock, storage } = setUp();
    const once = () => storage.commit(key('x'), [{ op: 'increment', field: 'n', by: 1 }], { commitId: 'c' });
    await once();
    clock.advance(59_999);
    await once();
    assert.equal((await storage.read(key('x')))?.fields.get('n'), '1');
    clock.advance(1);
    await once();
    assert.equal((await storage.read(key('x')))?.fields.get('n'), '2');
  });

  it('frees what expired records and dead leases held, although nobody asks for them again', async () => {
    const { clock, storage } = setUp();
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const used = () => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    const before = used();
    for (let round = 0; round < 10; round++) {
      for (let index = 0; index < 300; index++) {
        const value = encode(randomBytes(10_000).toString('hex'));
        const id = `${round}-${index}`;
        await storage.begin(key(id), { token: id, leaseMs: 1_000 });
        await storage.commit(key(id), [{ op: 'set', field: 'a', value }], { expiry: { set: 1 } });
      }
      clock.advance(2_000);
    }
    // 60 MB were written; of the last rounds some may still be there.
    const held = used() - before;
    await storage.close();
    assert.ok(held < 25_000_000, `${held} bytes are held`);
  });
});
