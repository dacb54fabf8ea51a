import { createInterface } from 'node:readline';
import { EXIT, type ExitCode } from '../exit-codes.js';
import type { Terminal } from '../terminal.js';
import { answer, replyText } from './answer.js';
import type { ChatSession } from './session.js';

/**
 * Answers the lines of standard input one by one, until it ends; empty lines are passed over. A turn that fails does
 * not end the chat, but the status says so.
 */
export async function chatLines(session: ChatSession, terminal: Terminal, json: boolean): Promise<ExitCode> {
  let status: ExitCode = EXIT.done;
  for await (const line of createInterface({ input: terminal.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (line.trim() === '') continue;
    try {
      const reply = await answer(line, session, terminal, json);
      if (!json) terminal.result(replyText(reply, terminal));
    } catch {
      status = EXIT.failed;
    }
  }
  return status;
}
