import { fileURLToPath } from 'node:url';
import { createAgent } from 'agentup';

// A conversation with a model that calls tools. With MODEL_BASE_URL, MODEL_API_KEY and MODEL_NAME it is a real one.
const agent = await createAgent(fileURLToPath(new URL('agent_config.yaml', import.meta.url)));
const contextId = process.argv[2] ?? 'ada';

for (const text of ['I love Lisbon', 'How is the weather in Lisbon?', 'What have I said?']) {
  console.log(`you    ${text}`);
  const { text: reply } = await agent.handle({ id: text, contextId, text, userId: 'ada' });
  console.log(`agent  ${reply}`);
}
console.log(`knows  ${JSON.stringify(await agent.context.getVariable(contextId, 'cities'))}`);
await agent.close();
