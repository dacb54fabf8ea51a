import { fileURLToPath } from 'node:url';
import { createAgent } from 'agentup';

// A customer calls twice: the first conversation ends, and what matters of it is there in the second.
const agent = await createAgent(fileURLToPath(new URL('agent_config.yaml', import.meta.url)));
const customer = { tenantId: 'shop', userId: process.argv[2] ?? 'sarah' };

async function say(contextId: string, text: string): Promise<void> {
  const { text: reply } = await agent.handle({ id: text, contextId, text, ...customer });
  console.log(`${contextId}  ${text.padEnd(22)} ${reply}`);
}

console.log(
  'tools  ',
  agent.tools
    .list()
    .map(({ name }) => name)
    .join(', '),
);
await agent.conversations.start('call-1', { ...customer, metadata: { channel: 'phone' } });
for (const text of [
  'hello',
  'where is ORD-789?',
  'login Sarah secret',
  'where is ORD-789?',
  'where is ORD-800?',
  'where is 789?',
  'add P123 2',
  'add P456',
  'add P999',
  'total',
]) {
  await say('call-1', text);
}
await agent.conversations.end('call-1', { ...customer, reason: 'hung up' });

await say('call-2', 'hello');
await say('call-2', 'where is ORD-789?');
const { userCache, tableCache } = agent.context.scoped(customer).caches;
console.log('kept   ', JSON.stringify(await userCache.get()));
console.log('calls  ', await tableCache.getField('tools', 'get_order', 'calls'));
await agent.conversations.end('call-2', customer);
await agent.close();
