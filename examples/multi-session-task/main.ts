import { fileURLToPath } from 'node:url';
import { createAgent } from 'agentup';

// Each run is one session of the same user: start it again and the task goes on where it was.
const agent = await createAgent(fileURLToPath(new URL('agent_config.yaml', import.meta.url)));
const userId = process.argv[2] ?? 'bob';
const contextId = `session-${Date.now()}`;

async function say(text: string): Promise<string> {
  console.log(`you    ${text}`);
  const { text: reply } = await agent.handle({ id: `task-${text}`, contextId, text, userId });
  console.log(`agent  ${reply}`);
  return reply;
}

const status = await say('status');
if (status.startsWith('There is no task') || status.includes('completed')) {
  await say('start task quarterly forecast');
  await say('next step');
} else {
  if (status.includes('paused')) await say('resume');
  await say('next step');
}
await say('pause');
await agent.close();
