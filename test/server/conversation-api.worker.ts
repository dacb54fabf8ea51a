import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAgent } from '../../src/agent/create-agent.js';
import type { StateConfigInput } from '../../src/config/index.js';
import { createConversationApi } from '../../src/server/index.js';

/** Serves the conversation API until it is told to stop; prints where. */
const state = JSON.parse(process.argv[2] ?? '') as StateConfigInput;
const agent = await createAgent({ state, conversations: { api_keys: [{ key: 'k', sub_domains: ['north'] }] } });
const server = createServer(createConversationApi(agent));
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
process.once('SIGTERM', async () => {
  server.closeAllConnections();
  server.close();
  await agent.close();
});
