import { fileURLToPath } from 'node:url';
import { createAgent } from 'agentup';
import { ConversationClient, createSync } from 'agentup/sync';
import { backOffice } from './back-office.js';

// A customer orders while the back office is down; then it is up, has everything, and changes something.
const agent = await createAgent(fileURLToPath(new URL('agent_config.yaml', import.meta.url)));
await using sync = createSync(agent);
const { url = '', api_key: apiKey = '', sub_domain: subDomain } = agent.config.sync ?? {};
const customer = { tenantId: subDomain, userId: `+519${String(Date.now()).slice(-8)}` };

async function say(text: string): Promise<void> {
  const task = { id: text, contextId: customer.userId, text, ...customer };
  const reply = await agent.handle(task).then(
    ({ text: said }) => said,
    (error: Error) => `(${error.message})`,
  );
  console.log(`${text.padEnd(12)} ${reply}`);
}

for (const text of ['hola', 'ceviche', 'chicha', 'pay dollars', 'pay yape']) await say(text);
const { pending } = await sync.status();
console.log('waiting     ', pending);

const office = await backOffice(apiKey);
const server = await office.open(Number(new URL(url).port));
await sync.flush();
const client = new ConversationClient({ baseUrl: url, apiKey, subDomain });
const there = await client.ofUser(customer.userId);
for (const { role, content } of there.context.previousMessages) console.log(`there        ${role}: ${content}`);
console.log('there       ', there.currentIntent, there.context['orderTotal'], there.context['paymentMethod']);

await client.mergeContext(there.sessionId, { deliveryAddress: 'Av. Grau 123' });
await client.addMessages(there.sessionId, { role: 'assistant', content: 'Eva here: your rider is on the way.' });
const here = agent.context.scoped({ tenantId: customer.tenantId }).conversation(customer.userId);
const { changed, messages = [] } = await sync.pull({ userId: customer.userId }, { into: here });
console.log(
  'pulled      ',
  changed,
  messages.map(({ content }) => content),
);

await sync.end(customer.userId);
await sync.flush();
console.log('waiting     ', (await sync.status()).pending);
server.closeAllConnections();
await new Promise((done) => server.close(done));
await sync.close();
await agent.close();
await office.agent.close();
