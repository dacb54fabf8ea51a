import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { withState } from '../../src/skill/with-state.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { ConversationClient } from '../../src/sync/conversation-client.js';
import { ConversationSync } from '../../src/sync/conversation-sync.js';
import type { SyncEvents } from '../../src/sync/sync-events.js';
import { ConversationRemote } from '../support/conversation-remote.js';

let remote: ConversationRemote;
let client: ConversationClient;
let storage: MemoryStorage;
let context: ConversationContext;
let sync: ConversationSync;
let sessionId: string;

beforeEach(async () => {
  remote = await new ConversationRemote().start();
  client = new ConversationClient({
    baseUrl: remote.url,
    apiKey: 'test-key',
    subDomain: 'shop',
    timeoutMs: 5_000,
    retries: 0,
  });
  storage = new MemoryStorage();
  context = new ConversationContext(storage);
  sync = new ConversationSync({ storage, client, subDomain: 'shop', background: false });
  ({ sessionId } = await client.create({ userId: 'ana' }));
});
afterEach(async () => {
  await sync.close();
  await storage.close();
  await remote[Symbol.asyncDispose]();
});
const here = () => context.conversation('c1');
const push = async () => {
  await sync.syncState('ana', await here().getVariables());
  await sync.flush();
};
const pull = (prefer?: 'local' | 'remote') => sync.pull('ana', { into: here(), prefer });

it('takes over what only the remote has changed, and keeps what only this side has', async () => {
  await here().setVariable('cart', { items: ['a'], total: 1, note: 'mine' });
  await here().setVariable('customer_name', 'Ana');
  await push();
  expect(await pull()).toMatchObject({ status: 'pulled', changed: {}, conflicts: [] });

  await client.mergeContext(sessionId, { selectedItems: ['a', 'b'], paymentMethod: 'cash' });
  await client.setIntent(sessionId, { currentIntent: 'payment' });
  await here().setVariable('customer_name', 'Ana María');
  expect(await pull()).toMatchObject({
    changed: { 'cart.items': ['a', 'b'], payment_method: 'cash', order_stage: 'payment' },
    conflicts: [],
  });
  expect(await here().getVariables()).toEqual({
    cart: { items: ['a', 'b'], total: 1, note: 'mine' },
    customer_name: 'Ana María',
    payment_method: 'cash',
    order_stage: 'payment',
  });
  expect(await pull()).toMatchObject({ changed: {}, conflicts: [] });

  await client.mergeContext(sessionId, { paymentMethod: null });
  expect((await pull()).changed).toEqual({ payment_method: undefined });
  expect(await here().getVariable('payment_method')).toBeUndefined();
});

describe('a field that both have changed', () => {
  const heard: SyncEvents['conflict'][] = [];
  beforeEach(async () => {
    heard.splice(0);
    sync.on('conflict', (event) => heard.push(event));
    await here().setVariable('payment_method', 'cash');
    await push();
    await pull();
    await here().setVariable('payment_method', 'card');
    await client.mergeContext(sessionId, { paymentMethod: 'yape' });
  });
  const conflict = { field: 'context.paymentMethod', base: 'cash', local: 'card', remote: 'yape' };

  it('stays as it is here, is reported, and goes to the remote with the next state', async () => {
    expect((await pull()).conflicts).toEqual([{ ...conflict, chosen: 'local' }]);
    expect(heard).toMatchObject([{ ...conflict, target: { userId: 'ana' } }]);
    expect(await here().getVariable('payment_method')).toBe('card');
    // It has been reported, and nobody has changed it since.
    expect((await pull()).conflicts).toEqual([]);
    await push();
    expect((await remote.of('ana'))[0]?.context['paymentMethod']).toBe('card');
    expect((await pull()).changed).toEqual({});
  });

  it("is the remote's where that is wanted, in all or by a rule", async () => {
    expect((await pull('remote')).conflicts).toEqual([{ ...conflict, chosen: 'remote' }]);
    expect(await here().getVariable('payment_method')).toBe('yape');
    await here().setVariable('payment_method', 'card');
    await client.mergeContext(sessionId, { paymentMethod: 'plin' });
    const byRule = await sync.pull('ana', {
      into: here(),
      prefer: ({ remote: theirs }) => (theirs === 'plin' ? 'remote' : 'local'),
    });
    expect(byRule.state?.['payment_method']).toBe('plin');
  });

  it('counts as changed here while it is on its way, and what is decided outlives what is', async () => {
    await sync.syncState('ana', await here().getVariables());
    let reads = false;
    // The remote can be read, and takes nothing.
    remote.mood = (name) => (name === 'sync' ? { status: 500 } : 'up');
    await here().setVariable('payment_method', 'cash');
    const result = await pull('remote');
    reads = result.status === 'pulled';
    expect(reads).toBe(true);
    expect(result.conflicts).toMatchObject([{ local: 'cash', remote: 'yape', chosen: 'remote' }]);
    remote.mood = () => 'up';
    await sync.flush();
    expect((await remote.of('ana'))[0]?.context['paymentMethod']).toBe('yape');
    expect(await here().getVariable('payment_method')).toBe('yape');
  });
});

it('brings what others have said, once, and not what was said here', async () => {
  await sync.addMessage('ana', 'user', 'hi');
  await sync.flush();
  await client.addMessages(sessionId, { role: 'assistant', content: 'a person speaking', metadata: { by: 'Eva' } });
  expect((await pull()).messages).toMatchObject([{ content: 'a person speaking' }]);
  await client.addMessages(sessionId, { role: 'assistant', content: 'again' });
  await sync.addMessage('ana', 'user', 'thanks');
  expect((await pull()).messages).toMatchObject([{ content: 'again' }]);
  expect((await pull()).messages).toEqual([]);
  const history = await here().getHistory();
  expect(history).toMatchObject([
    { role: 'assistant', content: 'a person speaking', metadata: { by: 'Eva', saidAt: expect.any(String) } },
    { role: 'assistant', content: 'again' },
  ]);
});

it('does without a conversation of ours: the state is given, and comes back', async () => {
  await client.mergeContext(sessionId, { orderTotal: 7 });
  const before = { cart: { items: [] } };
  const { state } = await sync.pull('ana', { state: before });
  expect(state).toEqual({ cart: { items: [], total: 7 } });
  expect(before).toEqual({ cart: { items: [] } });
});

it('has taken nothing over where its turn fails', async () => {
  await client.mergeContext(sessionId, { paymentMethod: 'cash' });
  const turn = withState(async (task: { id: string; text: string; contextId: string }, inside: ConversationContext) => {
    await sync.pull('ana', { into: inside.conversation('c1') });
    if (task.text === 'fail') throw new Error('no');
  });
  await turn({ id: '1', contextId: 'c1', text: 'fail' }, context).catch(() => {});
  expect(await here().getVariables()).toEqual({});
  await turn({ id: '2', contextId: 'c1', text: 'ok' }, context);
  expect(await here().getVariables()).toEqual({ payment_method: 'cash' });
  await sync.flush();
  await here().setVariable('payment_method', 'card');
  expect((await pull()).conflicts).toEqual([]);
});

it('says so where there is nothing, or nobody answers', async () => {
  expect(await sync.pull('bob', { into: here() })).toEqual({ status: 'absent' });
  await remote.stop();
  expect(await pull()).toMatchObject({ status: 'failed', error: { code: 'SYNC_UNAVAILABLE' } });
  expect(await here().getVariables()).toEqual({});
});
