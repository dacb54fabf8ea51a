import { Console } from 'node:console';
import { once } from 'node:events';
import { createAgent } from '../../agent/create-agent.js';
import { stderrLogger } from '../../logger.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { usage } from '../interview.js';
import { workingDirectory } from '../place.js';
import { logStrayRejections } from '../stray-rejections.js';
import type { Terminal } from '../terminal.js';
import { type RunOptions, run as runServer } from './run.js';

export interface McpOptions extends RunOptions {
  readonly http?: boolean;
  readonly user?: string;
  readonly tenant?: string;
}

/** `agentup mcp`: serves the program that started it, until that closes its end or a signal comes. */
export async function run(options: McpOptions, terminal: Terminal): Promise<ExitCode> {
  const { http, user, tenant, ...rest } = options;
  if (http) {
    if (user !== undefined || tenant !== undefined) throw usage('over HTTP callers say who they are', '--user');
    return runServer({ ...rest, mcp: true }, terminal);
  }
  for (const [flag, value] of Object.entries({ '--host': options.host, '--port': options.port })) {
    if (value !== undefined) throw usage(`${flag} is for --http`, flag);
  }
  // Standard output belongs to the protocol: what a skill prints must not get in between.
  globalThis.console = new Console(process.stderr);
  const logger = stderrLogger(terminal.env['AGENTUP_LOG']);
  logStrayRejections(logger);
  const agent = await createAgent(options.config, {
    cwd: workingDirectory(options, terminal),
    env: terminal.env,
    logger,
  });
  try {
    const { serveMcpStdio } = await import('../../server/mcp/serve-stdio.js');
    const signals = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) => once(process, signal));
    const served = await serveMcpStdio(agent, { userId: user, tenantId: tenant }, logger);
    agent.conversations.watch();
    await Promise.race([served.over, ...signals]);
    await served.close();
  } finally {
    await agent.close({ timeoutMs: 1000 });
  }
  return EXIT.done;
}
