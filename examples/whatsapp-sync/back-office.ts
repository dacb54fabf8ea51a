import { createServer, type Server } from 'node:http';
import { fileURLToPath } from 'node:url';
import { type Agent, createAgent } from 'agentup';
import { createConversationApi } from 'agentup/a2a';

/** The other side: whoever works at the restaurant sees the conversations here, over the conversation API. */
export async function backOffice(apiKey: string): Promise<{ agent: Agent; open(port: number): Promise<Server> }> {
  const storage_dir = fileURLToPath(new URL('back_office_states', import.meta.url));
  const agent = await createAgent({
    agent: { name: 'Back office' },
    state: { backend: 'file', storage_dir },
    conversations: { api_keys: [{ key: apiKey, sub_domains: ['my-restaurant'] }] },
  });
  const api = createConversationApi(agent);
  return {
    agent,
    open: (port) =>
      new Promise((done) => {
        const server = createServer(api).listen(port, '127.0.0.1', () => done(server));
      }),
  };
}
