import { createAgent } from '../../src/agent/create-agent.js';
import type { AgentConfigInput } from '../../src/config/index.js';
import type { Logger } from '../../src/logger.js';
import { type AgentServer, createAgentServer } from '../../src/server/agent-server.js';
import { names } from './skills.js';

/** An agent with the handlers of `skills.ts` on a loopback port, and what it logged. */
export interface Serving extends AsyncDisposable {
  readonly server: AgentServer;
  readonly url: string;
  readonly port: string;
  readonly logged: string[];
}

export async function serve(config: Partial<AgentConfigInput> = {}): Promise<Serving> {
  const logged: string[] = [];
  const write = (...args: unknown[]): void => void logged.push(args.map(String).join(' '));
  const logger: Logger = { debug: write, info: write, warn: write, error: write };
  const agent = await createAgent(
    {
      state: { backend: 'memory' },
      ...config,
      agent: { name: 'tested', default_skill: 'count' },
      skills: names.map((id) => ({ id, handler: `./skills.ts#${id}`, keywords: [id] })),
    },
    { cwd: import.meta.dirname, logger },
  );
  const server = await createAgentServer(agent, { port: 0, logger });
  const url = await server.listen();
  const { port } = server;
  return { server, url, port: String(port), logged, [Symbol.asyncDispose]: async () => void (await server.stop()) };
}
