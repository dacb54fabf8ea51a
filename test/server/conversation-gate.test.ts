import { expect, it } from 'vitest';
import { ConversationGate } from '../../src/server/a2a/conversation-gate.js';

it('admits one message at a time on a task, from its admission to its end, and the same one again', async () => {
  const gate = new ConversationGate(10);
  const scope = { tenantId: undefined, userId: 'ana' };
  const on = (taskId: string, messageId: string, contextId = 'c') => {
    const call = {};
    return { call, admitted: gate.admit(call, scope, contextId, { taskId, messageId }) };
  };
  const first = on('t1', 'm1');
  await expect(on('t1', 'm2').admitted).rejects.toMatchObject({ reason: 'CONVERSATION_BUSY' });
  const again = on('t1', 'm1');
  const other = on('t2', 'm2');
  const fresh = on('', 'm3');
  gate.enter(first.call, 't1');
  gate.enter(again.call, 't1');
  gate.enter(other.call, 't2');
  gate.enter(fresh.call, 't3');
  await Promise.all([first, again, other, fresh].map(({ admitted }) => admitted));
  await expect(on('t3', 'm4').admitted).rejects.toMatchObject({ reason: 'CONVERSATION_BUSY' });
  gate.leave(first.call);
  gate.leave(again.call);
  await on('t1', 'm4').admitted;
});
