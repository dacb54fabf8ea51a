import { dirname, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Agent } from '../../agent/agent.js';
import { createAgent } from '../../agent/create-agent.js';
import { findConfig } from '../../config/index.js';
import { stderrLogger } from '../../logger.js';
import { answer, replyText } from '../chat/answer.js';
import { chatLines } from '../chat/chat-lines.js';
import { announce, chatTerminal } from '../chat/chat-terminal.js';
import { ChatSession } from '../chat/session.js';
import { EXIT, type ExitCode, exitCodeOf } from '../exit-codes.js';
import { usage } from '../interview.js';
import { type PlaceFlags, workingDirectory } from '../place.js';
import type { Terminal } from '../terminal.js';

/** How long a turn that was left may hold up the end, in milliseconds. */
const GRACE_MS = 500;

export interface ChatOptions extends PlaceFlags {
  readonly skill?: string;
  readonly context?: string;
  readonly user?: string;
  readonly once?: string;
  readonly json?: boolean;
}

/** `agentup chat`: one message, the lines of a pipe, or a conversation at a terminal. */
export async function run(options: ChatOptions, terminal: Terminal): Promise<ExitCode> {
  const { skill, context, user, once, json = false } = options;
  for (const [flag, value] of [
    ['--context', context],
    ['--user', user],
    ['--once', once],
  ] as const) {
    if (value !== undefined && value.trim() === '') throw usage(`${flag} is empty`, flag);
  }
  const cwd = workingDirectory(options, terminal);
  const agent = await createAgent(options.config, {
    cwd,
    env: terminal.env,
    logger: stderrLogger(terminal.env['AGENTUP_LOG']),
  });
  let left = true;
  try {
    const session = new ChatSession(agent, { directory: projectOf(cwd, options.config), skill, context, user });
    const chat = converse(session, terminal, { once, json });
    const status = await Promise.race([chat, interrupt()]);
    left = status === EXIT.cancelled;
    return status;
  } finally {
    await close(agent, left);
  }
}

function projectOf(cwd: string, config: string | undefined): string {
  return dirname(config === undefined ? (findConfig(cwd) ?? cwd) : resolve(cwd, config));
}

async function converse(
  session: ChatSession,
  terminal: Terminal,
  { once, json }: { once: string | undefined; json: boolean },
): Promise<ExitCode> {
  if (once === undefined && terminal.stdin.isTTY && !json) return chatTerminal(session, terminal);
  if (!json) announce(session, terminal);
  if (once === undefined) return chatLines(session, terminal, json);
  try {
    const reply = await answer(once, session, terminal, json);
    if (!json) terminal.result(replyText(reply, terminal));
    return EXIT.done;
  } catch (error) {
    return exitCodeOf(error);
  }
}

/** Ends when the process is asked to. At a terminal the line editor sees Ctrl-C first. */
function interrupt(): Promise<ExitCode> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve(EXIT.cancelled));
  });
}

/** A handler that runs cannot be stopped; who leaves does not wait for it long. What is not committed then never is. */
async function close(agent: Agent, left: boolean): Promise<void> {
  const closing = agent.close();
  await (left ? Promise.race([closing, delay(GRACE_MS)]) : closing);
}
