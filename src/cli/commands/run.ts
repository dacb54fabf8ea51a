import { createAgent } from '../../agent/create-agent.js';
import { stderrLogger } from '../../logger.js';
import type { AgentServer } from '../../server/agent-server.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { usage } from '../interview.js';
import { type PlaceFlags, workingDirectory } from '../place.js';
import { logStrayRejections } from '../stray-rejections.js';
import type { Terminal } from '../terminal.js';

export interface RunOptions extends PlaceFlags {
  readonly host?: string;
  readonly port?: string;
  readonly allowAnonymous?: boolean;
  readonly mcp?: boolean;
  readonly conversations?: boolean;
}

/** `agentup run`: serves the agent until a signal stops it. A second signal ends the process at once. */
export async function run(options: RunOptions, terminal: Terminal): Promise<ExitCode> {
  const port = portOf(options.port);
  const logger = stderrLogger(terminal.env['AGENTUP_LOG']);
  logStrayRejections(logger);
  const agent = await createAgent(options.config, {
    cwd: workingDirectory(options, terminal),
    env: terminal.env,
    logger,
  });
  let server: AgentServer;
  try {
    const { createAgentServer } = await import('../../server/agent-server.js');
    server = await createAgentServer(agent, {
      logger,
      port,
      host: options.host,
      ...(options.allowAnonymous && { allowAnonymous: true }),
      ...(options.mcp && { mcp: true }),
      ...(options.conversations && { conversations: true }),
    });
    await server.listen();
  } catch (error) {
    await agent.close();
    throw error;
  }
  const signalled = stopSignal();
  announce(server, options.mcp ?? agent.config.server.mcp, terminal);
  await signalled;
  const { dim } = terminal.noteStyle;
  terminal.note(dim('stopping: running turns end first; once more ends at once'));
  const leave = (): never => process.exit(EXIT.cancelled);
  for (const signal of SIGNALS) process.once(signal, leave);
  await server.stop();
  terminal.note(dim('stopped'));
  return EXIT.done;
}

/** To listen on all addresses, and none that a client could call. */
const ANY_ADDRESS = new Set(['0.0.0.0', '[::]']);

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    const stop = (): void => {
      for (const signal of SIGNALS) process.off(signal, stop);
      resolve();
    };
    for (const signal of SIGNALS) process.on(signal, stop);
  });
}

function announce({ agent, url }: AgentServer, mcp: boolean, terminal: Terminal): void {
  const { bold, cyan, dim } = terminal.noteStyle;
  const { state, security } = agent.config;
  const skills = agent.skills.map(({ id }) => id).join(', ') || 'none yet: npx agentup skill create';
  terminal.note(`${bold(agent.name)} listens on ${cyan(url)}`);
  terminal.note(dim(`  card    ${url}/.well-known/agent-card.json`));
  if (mcp) terminal.note(dim(`  mcp     ${url}/mcp`));
  terminal.note(dim(`  skills  ${skills}`));
  terminal.note(dim(`  state   ${state.backend}`));
  terminal.note(
    dim(`  auth    ${security.auth === 'none' ? 'none: everyone who reaches this address' : security.auth}`),
  );
  terminal.note(dim('  Ctrl-C stops it'));
  if (ANY_ADDRESS.has(new URL(url).hostname)) {
    terminal.note(`The card tells clients to call ${url}, which leads nowhere from other machines: set server.url`);
  }
  // For scripts: the one line of the result says where it is.
  terminal.result(url);
}

function portOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port <= 65_535) return port;
  throw usage(`--port: ${text} is not a port, 0 to 65535`, '--port');
}
