import { createInterface, type Interface } from 'node:readline';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { reportError } from '../report-error.js';
import type { Terminal } from '../terminal.js';
import { answer, replyText } from './answer.js';
import type { ChatSession } from './session.js';
import { completions, runSlashCommand } from './slash-commands.js';

/** How long a turn takes before the chat shows that it works on it, in milliseconds. */
const PATIENCE_MS = 300;

type Event = { readonly line: string } | 'end' | 'interrupt';

/** A conversation with somebody at a terminal. Ends with /quit, Ctrl-D, or Ctrl-C on an empty line. */
export async function chatTerminal(session: ChatSession, terminal: Terminal): Promise<ExitCode> {
  const { bold, dim } = terminal.noteStyle;
  const { agent } = session;
  terminal.note(
    `${bold(agent.name)} ${dim(`${agent.skills.length} skill${agent.skills.length === 1 ? '' : 's'} · /help`)}`,
  );
  announce(session, terminal);
  const editor = new LineEditor(session, terminal);
  try {
    for (;;) {
      const event = await editor.next();
      if (event === 'end' || event === 'interrupt') {
        terminal.note('');
        announce(session, terminal);
        return event === 'end' ? EXIT.done : EXIT.cancelled;
      }
      const text = event.line.trim();
      if (text === '') continue;
      if (text.startsWith('/') && !text.startsWith('//')) {
        if ((await slash(text, session, terminal)) !== 'quit') continue;
        announce(session, terminal);
        return EXIT.done;
      }
      if (await editor.interrupted(speak(text.replace(/^\/\//, '/'), session, terminal))) {
        terminal.note('left before the answer came');
        return EXIT.cancelled;
      }
    }
  } finally {
    editor.close();
  }
}

/** Reads lines with history and completion. What is typed while a turn runs waits for its end; Ctrl-C does not. */
class LineEditor {
  readonly #editor: Interface;
  readonly #events: Event[] = [];
  #closed = false;
  #arrived: (() => void) | undefined;
  #abandon: (() => void) | undefined;

  constructor(session: ChatSession, terminal: Terminal) {
    const { bold, cyan, dim } = terminal.noteStyle;
    this.#editor = createInterface({
      input: terminal.stdin,
      output: terminal.stderr.isTTY ? terminal.stderr : terminal.stdout,
      terminal: true,
      prompt: `${cyan(bold('you'))} ${dim('›')} `,
      historySize: 200,
      completer: (line: string) => [completions(line, session), line],
    });
    this.#editor.on('line', (line) => this.#put({ line }));
    this.#editor.on('close', () => {
      this.#closed = true;
      this.#put('end');
    });
    this.#editor.on('SIGINT', () => {
      if (this.#abandon) this.#abandon();
      else if (this.#editor.line === '') this.#put('interrupt');
      else {
        // A half-written line is what Ctrl-C takes back first, as in a shell.
        this.#editor.write(null, { ctrl: true, name: 'e' });
        this.#editor.write(null, { ctrl: true, name: 'u' });
      }
    });
  }

  async next(): Promise<Event> {
    if (!this.#closed) this.#editor.prompt(true);
    while (this.#events.length === 0) {
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
    return this.#events.shift() as Event;
  }

  /** Waits for a turn. Did somebody ask to leave before it ended? */
  async interrupted(turn: Promise<void>): Promise<boolean> {
    const abandoned = new Promise<true>((resolve) => {
      this.#abandon = () => resolve(true);
    });
    try {
      return await Promise.race([turn.then(() => false), abandoned]);
    } finally {
      this.#abandon = undefined;
    }
  }

  close(): void {
    this.#editor.close();
  }

  #put(event: Event): void {
    this.#events.push(event);
    this.#arrived?.();
  }
}

/** The conversation's id, and how to come back to it where it outlives the process. */
export function announce(session: ChatSession, terminal: Terminal): void {
  const { bold, dim } = terminal.noteStyle;
  const user = session.userId === undefined ? '' : ` --user ${quoted(session.userId)}`;
  const after = session.forgets
    ? 'kept in memory only: it ends with this chat'
    : `come back: npx agentup chat --context ${quoted(session.contextId)}${user}`;
  terminal.note(dim('conversation ') + bold(session.contextId) + dim(` · ${after}`));
}

/** As an argument of a shell. */
function quoted(text: string): string {
  return /^[\w.:@/-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

async function slash(line: string, session: ChatSession, terminal: Terminal): Promise<'quit' | undefined> {
  try {
    return await runSlashCommand(line, session, terminal);
  } catch (error) {
    reportError(error, terminal);
    return undefined;
  }
}

async function speak(text: string, session: ChatSession, terminal: Terminal): Promise<void> {
  const { dim, green, bold } = terminal.style;
  let shown = false;
  const timer = setTimeout(() => {
    shown = true;
    terminal.stderr.write(dim('…'));
  }, PATIENCE_MS);
  const clear = (): void => {
    clearTimeout(timer);
    if (shown) terminal.stderr.write('\r\u001b[2K');
  };
  try {
    const reply = await answer(text, session, terminal).finally(clear);
    const said = replyText(reply, terminal);
    terminal.result(terminal.stdout.isTTY ? `${green(bold(reply.skillId))} ${dim('›')} ${said}` : said);
  } catch {
    // `answer` has shown it, and the chat goes on.
  }
}
