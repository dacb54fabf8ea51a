import { fileURLToPath } from 'node:url';
import { createAgent } from 'agentup';

// The first run introduces itself; every later one is a new process that is remembered.
const agent = await createAgent(fileURLToPath(new URL('agent_config.yaml', import.meta.url)));
const contextId = process.argv[2] ?? 'alice';

const known = (await agent.context.getTtl(contextId)) !== undefined;
const lines = known
  ? ['What do you remember of me?']
  : ['My name is Alice', 'I like jasmine tea', 'Do you remember me?'];

for (const [index, text] of lines.entries()) {
  console.log(`you    ${text}`);
  const { text: reply } = await agent.handle({ id: `task-${index}`, contextId, text, userId: 'alice' });
  console.log(`agent  ${reply}`);
}
await agent.close();
