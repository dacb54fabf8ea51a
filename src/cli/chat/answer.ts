import { relative } from 'node:path';
import type { Reply } from '../../agent/agent.js';
import { placeOf } from '../../agent/place-of.js';
import { isAgentUpError } from '../../errors.js';
import { reportError } from '../report-error.js';
import { shownLines } from '../state/texts.js';
import type { Terminal } from '../terminal.js';
import type { ChatSession } from './session.js';

/**
 * Sends one message and prints the answer: on stdout as it is, or as one line of JSON. A turn that fails is shown on
 * stderr (with `json` also as a line of JSON) and thrown on.
 */
export async function answer(text: string, session: ChatSession, terminal: Terminal, json = false): Promise<Reply> {
  try {
    const reply = await session.say(text);
    if (json) {
      const { skillId, contextId, value } = reply;
      // What JSON cannot hold is in the text alone.
      terminal.jsonLine({ skillId, contextId, text: reply.text, ...(isJson(value) && { value }) });
    }
    return reply;
  } catch (error) {
    reportError(error, terminal, { json, oneLine: true, at: placeIn(session.directory, error) });
    throw error;
  }
}

/** Where in the project a handler threw. Our own errors say what is wrong without. */
function placeIn(directory: string, error: unknown): string | undefined {
  const { file, line, column } = isAgentUpError(error) ? { file: undefined } : placeOf(error, directory);
  return file === undefined ? undefined : `${relative(directory, file)}:${line}:${column}`;
}

/** A reply as it is shown: at a terminal nothing in it moves the cursor or colours the screen. */
export function replyText({ text }: Reply, terminal: Terminal): string {
  return terminal.stdout.isTTY ? shownLines(text).join('\n') : text;
}

function isJson(value: unknown): boolean {
  try {
    return JSON.stringify(value) !== undefined;
  } catch {
    return false;
  }
}
