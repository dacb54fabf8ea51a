import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { isAgentUpError } from '../../src/errors.js';
import { withState } from '../../src/skill/with-state.js';
import { ValkeyStorage } from '../../src/storage/valkey/valkey-storage.js';
import type { ValkeyStorageOptions } from '../../src/storage/valkey/valkey-storage-options.js';
import { type ClusterMember, type Shard, startValkeyCluster, type ValkeyCluster } from '../support/valkey-cluster.js';
import { startWorker } from '../support/workers.js';
import type { Orders, Outcome } from './failover.worker.js';

const WORKER = join(import.meta.dirname, 'failover.worker.ts');
/** Turns that go on before and after what happens to the cluster, in milliseconds; more for a soak. */
const AROUND_MS = Number(process.env['AGENTUP_TEST_FAILOVER_MS'] ?? 500);
const CONVERSATIONS = 40;
/** Longer than the cluster takes to replace a primary, also on a machine that has other work. */
const TIMEOUT_MS = 20_000;

let valkey: ValkeyCluster;
beforeAll(async () => {
  valkey = await startValkeyCluster();
});
afterAll(() => valkey.stop());

type Given = Omit<ValkeyStorageOptions, 'url' | 'client' | 'keyPrefix'>;

/** What the callers of turns were told, and what is stored. */
interface Balance {
  readonly acknowledged: readonly string[];
  /** Acknowledged, and not stored. */
  readonly lost: readonly string[];
  readonly stored: ReadonlySet<string>;
  readonly errors: readonly string[];
  /** Conversations that exist, and are not listed. */
  readonly unlisted: readonly string[];
}

/**
 * Two processes run turns before, while and after something happens, with each of the given options, on the same
 * conversations.
 */
async function turnsDuring(
  givens: readonly Given[],
  happening: (shardOf: (id: string) => Promise<Shard>) => Promise<void>,
  lease = 30,
): Promise<Balance[]> {
  const groups = givens.map((given) => ({
    ...{ url: valkey.url, cluster: true, timeoutMs: TIMEOUT_MS, ...given },
    keyPrefix: `failover-${randomBytes(4).toString('hex')}:`,
  }));
  const workers = ['a', 'b'].map((name) => {
    const ownClient = name === 'b';
    const orders: Orders = { name, groups, lease, ownClient, conversations: CONVERSATIONS, loops: 16 };
    return startWorker(WORKER, orders);
  });
  try {
    for (const { lines } of workers) expect((await lines.next()).value).toBe('running');
    // Where a key lies is a matter of what stands in the braces.
    await happening((id) => valkey.shardOf(`{contexts/:${id}}`));
    await delay(AROUND_MS);
    for (const { process: child } of workers) child.kill('SIGTERM');
    const outcomes: Outcome[] = [];
    for (const { lines, ended } of workers) {
      outcomes.push(...(JSON.parse((await lines.next()).value ?? '') as Outcome[]));
      expect(await ended).toBe(0);
    }
    const ofGroup = (i: number) => outcomes.filter(({ group }) => group === i);
    return await Promise.all(groups.map(({ keyPrefix }, i) => balance(ofGroup(i), keyPrefix)));
  } finally {
    for (const { process: child } of workers) child.kill('SIGKILL');
  }
}

async function balance(outcomes: readonly Outcome[], keyPrefix: string): Promise<Balance> {
  const storage = new ValkeyStorage({ url: valkey.url, cluster: true, keyPrefix, timeoutMs: TIMEOUT_MS });
  const context = new ConversationContext(storage);
  const stored = new Set<string>();
  const unlisted = new Set<string>();
  for (let i = 0; i < CONVERSATIONS; i++) {
    const entries = (await context.getHistory(`c${i}`)).map(({ content }) => String(content));
    // A turn that was committed twice, or in part, would be seen here.
    expect(await context.getVariable(`c${i}`, 'n', 0)).toBe(entries.length);
    expect(entries.filter((entry) => stored.has(entry))).toEqual([]);
    for (const entry of entries) stored.add(entry);
    if (entries.length > 0) unlisted.add(`c${i}`);
    expect(new Set(entries).size).toBe(entries.length);
  }
  for await (const { contextId } of context.listContexts()) unlisted.delete(contextId);
  await storage.close();
  const acknowledged = outcomes.flatMap(({ entry, error }) => (error === undefined ? [entry] : []));
  const lost = acknowledged.filter((entry) => !stored.has(entry));
  return { acknowledged, lost, stored, unlisted: [...unlisted], errors: outcomes.flatMap(({ error }) => error ?? []) };
}

/** A primary dies with what only it knows, and comes back, without its data, when its replica has taken over. */
async function death({ primary, replicas: [replica] }: Shard): Promise<void> {
  await primary.server.kill9();
  await valkey.promoted(replica as ClusterMember);
  await valkey.restart(primary);
}

/**
 * The same, where its replica hears nothing from it while something is done; and something may be done while it is
 * gone and replaced.
 */
async function deathOfTheUnheard(
  shard: Shard,
  meanwhile: () => Promise<void>,
  afterwards = async (): Promise<void> => {},
): Promise<void> {
  const [replica] = shard.replicas as [ClusterMember];
  // It reconnects with a password the primary does not want, and is not let in.
  await replica.admin.config('SET', 'masterauth', 'nobody wants this');
  await shard.primary.admin.call('CLIENT', 'KILL', 'TYPE', 'replica');
  await meanwhile();
  await shard.primary.server.kill9();
  await valkey.promoted(replica);
  await afterwards();
  await replica.admin.config('SET', 'masterauth', '');
  await valkey.restart(shard.primary);
}

const REPLICATED = { durability: { replicas: 1 } };
/**
 * What no patience helps against: a turn that began on what an earlier turn had written, which died with its primary.
 * It takes a death in the very moment between two answers.
 */
const HOPELESS = /^LEASE_LOST|cannot be found out any more/;

describe('turns go on', { timeout: 150_000 }, () => {
  it('while slots are handed from one node to another: nothing fails, nothing is lost', async () => {
    const balances = await turnsDuring([{}, REPLICATED], async (shardOf) => {
      for (const id of ['c0', 'c1', 'c2', 'c0']) await valkey.failOver(await shardOf(id));
    });
    for (const { acknowledged, lost, stored, errors, unlisted } of balances) {
      expect(errors).toEqual([]);
      expect(lost).toEqual([]);
      expect(acknowledged).toHaveLength(stored.size);
      expect(unlisted).toEqual([]);
    }
  });

  it('when a primary dies: they wait for its replica, and with replicas: 1 nothing acknowledged is lost', async () => {
    const balances = await turnsDuring([{}, REPLICATED], async (shardOf) => death(await shardOf('c0')));
    for (const { errors } of balances) expect(errors.filter((error) => !HOPELESS.test(error))).toEqual([]);
    expect(balances[1]).toMatchObject({ lost: [], unlisted: [] });
  });

  it('when a primary dies its replica had not heard from: what only it knew was acknowledged without replicas: 1 alone', async () => {
    const happening = async (shardOf: (id: string) => Promise<Shard>) =>
      deathOfTheUnheard(await shardOf('c0'), () => delay(AROUND_MS));
    // Leases whose release was lost as well end soon.
    const balances = await turnsDuring([{}, REPLICATED], happening, 5);
    expect(balances[0]?.lost).not.toEqual([]);
    expect(balances[1]?.lost).toEqual([]);
  });

  it('when a primary dies with their lease: those go on whose conversation is as they knew it', async () => {
    const open = () => {
      const keyPrefix = `failover-${randomBytes(4).toString('hex')}:`;
      return new ValkeyStorage({ url: valkey.url, cluster: true, keyPrefix, timeoutMs: TIMEOUT_MS });
    };
    const storages = [open(), open()];
    const [kept, changed] = storages.map((storage) => new ConversationContext(storage, { lease: 60 })) as [
      ConversationContext,
      ConversationContext,
    ];
    for (const context of [kept, changed]) await context.setVariable('c0', 'n', 1);
    let over = (): void => {};
    const death = new Promise<void>((resolve) => {
      over = resolve;
    });
    let running = 0;
    const turn = withState(async (_task, inside, id) => {
      const n = await inside.getVariable(id, 'n', 0);
      running++;
      await death;
      await inside.setVariable(id, 'n', n + 1);
    });
    const turns: Promise<unknown>[] = [];
    const begin = async () => {
      await changed.setVariable('c0', 'n', 5);
      const task = { id: 't', contextId: 'c0', text: '' };
      for (const context of [kept, changed]) turns.push(turn(task, context).catch((error: unknown) => error));
      await vi.waitUntil(() => running === 2);
    };
    const end = async () => {
      over();
      await Promise.all(turns);
    };
    await deathOfTheUnheard(await valkey.shardOf('{contexts/:c0}'), begin, end);
    const [went, refused] = await Promise.all(turns);
    expect(went).toBeUndefined();
    expect(await kept.getVariable('c0', 'n')).toBe(2);
    expect(isAgentUpError(refused, 'LEASE_LOST')).toBe(true);
    expect(await changed.getVariable('c0', 'n')).toBe(1);
    // What could not be taken up again is left to the next.
    await withState((_task, inside, id) => inside.incrementVariable(id, 'n'))(
      { id: 't', contextId: 'c0', text: '' },
      changed,
    );
    await Promise.all(storages.map((storage) => storage.close()));
  });
});
