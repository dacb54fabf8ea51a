import { fileURLToPath } from 'node:url';
import { createAgent } from 'agentup';

// A customer of a pizza place, in two conversations: the flow, the profile and the login go on from one to the other.
const agent = await createAgent(fileURLToPath(new URL('agent_config.yaml', import.meta.url)));
const user = { tenantId: 'pizza_place', userId: process.argv[2] ?? '+51 999 123' };

async function say(contextId: string, text: string): Promise<void> {
  const { text: reply } = await agent.handle({ id: `${contextId} ${text}`, contextId, text, ...user });
  console.log(`${contextId.padEnd(8)} ${text.padEnd(24)} ${reply}`);
}

await say('whatsapp', 'hello');
await say('whatsapp', 'huge');
await say('whatsapp', 'large');
await say('web', 'pepperoni, mushrooms');
await say('web', 'yes');
await say('whatsapp', 'profile');
await say('web', 'stats please');
await say('web', 'menu');
await say('web', 'sold out pizza_large');
await say('web', 'whoami');
await say('web', 'login Sarah');
await say('whatsapp', 'whoami');
await say('whatsapp', 'logout');
await say('web', 'ticket');
await say('web', 'help, it is cold');
await say('whatsapp', 'ticket: no spoon either');
await say('whatsapp', 'solved');
await agent.close();
